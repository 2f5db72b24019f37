"""What the a1111 service takes: the fields of AUTOMATIC1111's own API, and which of its calls has which.

- Every field is optional and absent unless given: the defaults are the server's.
- Pictures are inputs of the job, named where the API wants base64; a payload never carries one.
- The agent's own fields (`force_task_id`, `send_images`, what is restored afterwards) are not a client's to set.

Source: modules/api/models.py and api.py of AUTOMATIC1111 1.10; the fields of Forge that it adds.
"""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = ["INPUT_TREES", "A1111Payload", "misfit"]

#: fields that hold whatever an extension wants; input names are looked for at any depth
INPUT_TREES = ("alwayson_scripts", "script_args")
#: a wrong value is shown so far, in characters: it may be a picture
SHOWN_CHARACTERS = 40

Text = str | UnsetType
Flag = bool | UnsetType
Number = float | UnsetType
Whole = int | UnsetType
Positive = Annotated[int, Meta(ge=1)] | UnsetType
Size = Annotated[int, Meta(ge=1, le=16_384)] | UnsetType
Share = Annotated[float, Meta(ge=0, le=1)] | UnsetType


class A1111Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture by AUTOMATIC1111's API: `{"endpoint": "txt2img", "prompt": "a cat", "steps": 20, "width": 512}`."""

    #: which call: `/sdapi/v1/txt2img`, `/img2img` or `/extra-single-image`
    endpoint: Literal["txt2img", "img2img", "extras"]

    prompt: Text = UNSET
    negative_prompt: Text = UNSET
    styles: list[str] | UnsetType = UNSET
    #: -1: any
    seed: Whole = UNSET
    subseed: Whole = UNSET
    subseed_strength: Number = UNSET
    seed_resize_from_h: Whole = UNSET
    seed_resize_from_w: Whole = UNSET
    sampler_name: Text = UNSET
    scheduler: Text = UNSET
    batch_size: Positive = UNSET
    n_iter: Positive = UNSET
    steps: Positive = UNSET
    cfg_scale: Number = UNSET
    width: Size = UNSET
    height: Size = UNSET
    restore_faces: Flag = UNSET
    tiling: Flag = UNSET
    denoising_strength: Share = UNSET
    eta: Number = UNSET
    s_min_uncond: Number = UNSET
    s_churn: Number = UNSET
    s_tmax: Number = UNSET
    s_tmin: Number = UNSET
    s_noise: Number = UNSET
    #: settings of the server for this job only
    override_settings: dict[str, Any] | UnsetType = UNSET
    refiner_checkpoint: Text = UNSET
    refiner_switch_at: Number = UNSET
    disable_extra_networks: Flag = UNSET
    do_not_save_samples: Flag = UNSET
    do_not_save_grid: Flag = UNSET
    #: the server keeps copies of its own, too
    save_images: Flag = UNSET
    script_name: Text = UNSET
    script_args: list[Any] | UnsetType = UNSET
    alwayson_scripts: dict[str, Any] | UnsetType = UNSET
    infotext: Text = UNSET
    #: Forge's
    distilled_cfg_scale: Number = UNSET

    enable_hr: Flag = UNSET
    firstphase_width: Whole = UNSET
    firstphase_height: Whole = UNSET
    hr_scale: Number = UNSET
    hr_upscaler: Text = UNSET
    hr_second_pass_steps: Whole = UNSET
    hr_resize_x: Whole = UNSET
    hr_resize_y: Whole = UNSET
    hr_checkpoint_name: Text = UNSET
    hr_sampler_name: Text = UNSET
    hr_scheduler: Text = UNSET
    hr_prompt: Text = UNSET
    hr_negative_prompt: Text = UNSET
    hr_cfg: Number = UNSET
    hr_distilled_cfg: Number = UNSET

    #: names of inputs
    init_images: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    #: name of an input
    mask: Text = UNSET
    mask_blur: Whole = UNSET
    mask_blur_x: Whole = UNSET
    mask_blur_y: Whole = UNSET
    mask_round: Flag = UNSET
    image_cfg_scale: Number = UNSET
    inpainting_fill: Whole = UNSET
    inpaint_full_res: Flag = UNSET
    inpaint_full_res_padding: Whole = UNSET
    inpainting_mask_invert: Whole = UNSET
    initial_noise_multiplier: Number = UNSET

    #: of img2img and extras
    resize_mode: Whole = UNSET

    #: name of an input
    image: Text = UNSET
    gfpgan_visibility: Share = UNSET
    codeformer_visibility: Share = UNSET
    codeformer_weight: Share = UNSET
    upscaling_resize: Number = UNSET
    upscaling_resize_w: Whole = UNSET
    upscaling_resize_h: Whole = UNSET
    upscaling_crop: Flag = UNSET
    upscaler_1: Text = UNSET
    upscaler_2: Text = UNSET
    extras_upscaler_2_visibility: Share = UNSET
    upscale_first: Flag = UNSET


def _between(first: str, last: str) -> frozenset[str]:
    names = A1111Payload.__struct_fields__
    return frozenset(names[names.index(first) : names.index(last) + 1])


GENERATION = _between("prompt", "distilled_cfg_scale")
#: call → its fields
FIELDS = {
    "txt2img": GENERATION | _between("enable_hr", "hr_distilled_cfg"),
    "img2img": GENERATION | _between("init_images", "resize_mode"),
    "extras": _between("resize_mode", "upscale_first"),
}
#: call → what it can't do without
NEEDED = {"img2img": "init_images", "extras": "image"}


def misfit(payload: A1111Payload, input_names: Collection[str]) -> tuple[str, str] | None:
    """Where the payload and its inputs don't fit together, and why: `("/mask", "expected ...")`; None: they do."""
    given = {name: value for name, value in msgspec.structs.asdict(payload).items() if value is not UNSET}
    del given["endpoint"]
    for name in given:
        if name not in FIELDS[payload.endpoint]:
            return f"/{name}", f"{payload.endpoint} has no field '{name}'"
    needed = NEEDED.get(payload.endpoint)
    if needed and needed not in given:
        return "", f"{payload.endpoint} needs '{needed}': the name of one of the job's inputs"
    return _input_misfit(payload, input_names)


def _input_misfit(payload: A1111Payload, input_names: Collection[str]) -> tuple[str, str] | None:
    pictures = list(_pictures(payload))
    for pointer, name in pictures:
        if name not in input_names:
            wanted = "expected the name of one of the job's inputs (upload the picture as one)"
            return pointer, f"{wanted}, got '{name[:SHOWN_CHARACTERS]}'"
    used = {name for _, name in pictures} | {*_texts(payload.alwayson_scripts), *_texts(payload.script_args)}
    unused = next((name for name in input_names if name not in used), None)
    return None if unused is None else ("", f"no field refers to the input '{unused}'")


def _pictures(payload: A1111Payload) -> Iterator[tuple[str, str]]:
    """Pointer and input name of each picture."""
    if payload.init_images is not UNSET:
        yield from ((f"/init_images/{index}", name) for index, name in enumerate(payload.init_images))
    if payload.mask is not UNSET:
        yield "/mask", payload.mask
    if payload.image is not UNSET:
        yield "/image", payload.image


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        yield from (text for value in tree.values() for text in _texts(value))
    elif isinstance(tree, list):
        yield from (text for value in tree for text in _texts(value))
