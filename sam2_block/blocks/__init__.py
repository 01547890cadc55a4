"""The blocks of the plugin: one folder a block, one module a version."""

PREDICTIONS_KIND_NAME = "sam2_block/instance_segmentation_prediction"
