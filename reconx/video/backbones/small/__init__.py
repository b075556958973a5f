"""The pack's own video model: small, in pixel space, trained on procedural rooms."""
