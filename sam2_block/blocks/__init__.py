"""The blocks of the plugin: one folder per block, one module per version."""

PREDICTIONS_KIND_NAME = "sam2_block/instance_segmentation_prediction"
