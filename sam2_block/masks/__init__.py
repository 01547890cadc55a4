"""Binary masks: one as its crop, those of one image together, and the forms that others take."""

from sam2_block.masks.cropped import EMPTY_MASK, BoolArray, CroppedMask, coco_rle

__all__ = ["EMPTY_MASK", "BoolArray", "CroppedMask", "coco_rle"]
