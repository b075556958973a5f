import sys

import pytest
import torch

from reconx.errors import InputError, MissingDependency
from reconx.export.video import write_video


def make_frames(count: int, width: int, height: int) -> torch.Tensor:
    """A smooth ramp in red and green whose blue grows from frame to frame."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack(
        [torch.stack([x, y, torch.full_like(x, i / count)], dim=-1) for i in range(count)]
    )


@pytest.mark.parametrize("as_iterator", [False, True])
def test_video_reads_back(tmp_path, as_iterator):
    av = pytest.importorskip("av")
    frames = make_frames(6, 65, 47)
    write_video(tmp_path / "path.mp4", iter(frames) if as_iterator else frames, fps=12.5)
    with av.open(str(tmp_path / "path.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 12.5
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 6
    back = torch.stack([torch.from_numpy(frame) for frame in decoded]).float() / 255
    assert back.shape == (6, 48, 66, 3)
    torch.testing.assert_close(back[:, :47, :65], frames, atol=0.06, rtol=0)
    # Rows and columns that were added repeat the border, and no colour is shifted on average.
    torch.testing.assert_close(back[:, 47], back[:, 46], atol=0.06, rtol=0)
    shift = (back[:, :47, :65] - frames).mean(dim=(0, 1, 2))
    torch.testing.assert_close(shift, torch.zeros(3), atol=0.01, rtol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["path.mp4"]


def test_bad_frames(tmp_path):
    pytest.importorskip("av")
    with pytest.raises(InputError, match="path.mp4' got no frames"):
        write_video(tmp_path / "path.mp4", iter([]))
    mixed = [torch.zeros(16, 16, 3), torch.zeros(16, 18, 3)]
    with pytest.raises(InputError, match=r"Video frame has shape \(16, 18, 3\); expected \(16, 16"):
        write_video(tmp_path / "path.mp4", mixed)
    with pytest.raises(InputError, match="Video fps is 0"):
        write_video(tmp_path / "path.mp4", mixed, fps=0.0)
    assert list(tmp_path.iterdir()) == []


def test_without_av(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency, match="pip install av"):
        write_video(tmp_path / "path.mp4", torch.zeros(1, 4, 4, 3))
