"""Binary masks: one as its crop, all of an image as one array, and their encodings."""

from sam2_block.masks.cropped import EMPTY_MASK, BoolArray, CroppedMask, coco_rle

__all__ = ["EMPTY_MASK", "BoolArray", "CroppedMask", "coco_rle"]
