"""Entry for ComfyUI, which loads this folder as a package; the library itself is `reconx/`."""

if __package__:
    from .nodes import comfy_entrypoint

    WEB_DIRECTORY = "./nodes/web"
    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
