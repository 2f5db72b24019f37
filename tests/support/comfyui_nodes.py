"""Custom nodes for a real ComfyUI under test: copied into its `custom_nodes`, never imported by Muster or its tests.

- `MusterSlow` counts steps and heeds interrupts between them.
- `MusterStubborn` sleeps and never looks at the interrupt flag.
- `MusterPreview` shows a picture of the asked size at each step.
- `MusterFiles` writes a text file, and names it as custom nodes for videos name theirs.
- `MusterFail` raises what its `kind` names; after `exit` the server answers but never works again.
"""

import os
import time
from pathlib import Path


class MusterSlow:
    CATEGORY = "muster"
    FUNCTION = "count"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        return {
            "required": {
                "image": ("IMAGE",),
                "steps": ("INT", {"default": 10, "min": 1, "max": 10_000}),
                "step_s": ("FLOAT", {"default": 0.1, "min": 0.0, "max": 60.0}),
            }
        }

    def count(self, image, steps, step_s):  # noqa: ANN001, ANN201 - a node's shape is ComfyUI's
        from comfy.utils import ProgressBar

        bar = ProgressBar(steps)
        for step in range(steps):
            time.sleep(step_s)
            bar.update_absolute(step + 1, steps)
        return (image,)


class MusterPreview:
    CATEGORY = "muster"
    FUNCTION = "paint"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        return {
            "required": {
                "image": ("IMAGE",),
                "steps": ("INT", {"default": 10, "min": 1, "max": 10_000}),
                "size": ("INT", {"default": 64, "min": 1, "max": 4096}),
            }
        }

    def paint(self, image, steps, size):  # noqa: ANN001, ANN201 - a node's shape is ComfyUI's
        from comfy.utils import ProgressBar
        from PIL import Image

        bar = ProgressBar(steps)
        for step in range(steps):
            time.sleep(0.05)
            noise = Image.frombytes("RGB", (size, size), os.urandom(3 * size * size))
            bar.update_absolute(step + 1, steps, ("JPEG", noise, size))
        return (image,)


class MusterFiles:
    CATEGORY = "muster"
    FUNCTION = "write"
    OUTPUT_NODE = True
    RETURN_TYPES = ()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        return {"required": {"filename_prefix": ("STRING",), "text": ("STRING",)}}

    def write(self, filename_prefix, text):  # noqa: ANN001, ANN201 - a node's shape is ComfyUI's
        import folder_paths

        place = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory())
        folder, name, subfolder = place[0], f"{place[1]}.txt", place[3]
        Path(folder, name).write_text(text)
        return {"ui": {"gifs": [{"filename": name, "subfolder": subfolder, "type": "output"}], "text": [text]}}


class MusterStubborn:
    CATEGORY = "muster"
    FUNCTION = "sleep"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        return {"required": {"image": ("IMAGE",), "sleep_s": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 60.0})}}

    def sleep(self, image, sleep_s):  # noqa: ANN001, ANN201 - a node's shape is ComfyUI's
        time.sleep(sleep_s)
        return (image,)


class MusterFail:
    CATEGORY = "muster"
    FUNCTION = "fail"
    RETURN_TYPES = ("IMAGE",)

    @classmethod
    def INPUT_TYPES(cls):  # noqa: ANN206, N802 - ComfyUI's name
        return {"required": {"image": ("IMAGE",), "kind": (["value", "runtime", "oom", "exit"],)}}

    def fail(self, image, kind):  # noqa: ANN001, ANN201 - a node's shape is ComfyUI's
        import torch

        if kind == "oom":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if kind == "exit":
            raise SystemExit(3)
        if kind == "runtime":
            raise RuntimeError("the node broke")
        raise ValueError("a value the node can't use")


NODE_CLASS_MAPPINGS = {
    "MusterSlow": MusterSlow,
    "MusterPreview": MusterPreview,
    "MusterFiles": MusterFiles,
    "MusterStubborn": MusterStubborn,
    "MusterFail": MusterFail,
}
