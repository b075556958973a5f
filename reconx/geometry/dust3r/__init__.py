"""DUSt3R: pointmaps of photo pairs by a pretrained network (Wang et al., arXiv 2312.14132)."""
