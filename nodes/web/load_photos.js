// The upload button of Load Photos: sends the chosen pictures to the input directory and names them
// in the node's `files`. The host's own upload serves single-picture lists outside a dynamic combo.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

function choosePhotos() {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = "image/*";
    input.multiple = true;
    input.onchange = () => resolve([...input.files]);
    input.click();
  });
}

async function upload(photo) {
  const body = new FormData();
  body.append("image", photo);
  const response = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!response.ok) throw new Error(`${photo.name}: ${response.status} ${response.statusText}`);
  return (await response.json()).name; // the host renames where another file has the name
}

async function uploadTo(node) {
  const names = [];
  try {
    for (const photo of await choosePhotos()) names.push(await upload(photo));
  } catch (error) {
    app.extensionManager.toast.add({
      severity: "error",
      summary: "Photos could not be uploaded",
      detail: error.message,
    });
    return;
  }
  const widget = (name) => node.widgets.find((candidate) => candidate.name === name);
  widget("source").value = "files"; // brings up its text field
  widget("source.files").value = names.join("\n");
  node.graph?.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "reconx.LoadPhotos",
  nodeCreated(node) {
    if (node.comfyClass !== "ReconX_LoadPhotos") return;
    const options = { serialize: false }; // no input of the prompt
    const button = node.addWidget("button", "upload photos", null, () => uploadTo(node), options);
    button.serialize = false; // nor a value of the workflow
  },
});
