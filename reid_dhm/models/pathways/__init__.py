"""The blocks of side branches: a pathway from the output of a stage to the network's end.

Two rules. ``light`` halves every later stage at its own width. ``reference`` is that of the DHM
authors' released networks: the last fork's branch keeps the last stage's full depth at twice the
width (three times the growth rate in a DenseNet), earlier forks run shortened copies of the later
stages at their own width. The five ImageNet ResNets have the released layout under both.
"""

from reid_dhm.models.pathways.dense import dense_layers_pathway, densenet_pathway
from reid_dhm.models.pathways.derived import derived_pathway
from reid_dhm.models.pathways.layouts import RESNET_LAYOUT
from reid_dhm.models.pathways.residual import resnet_pathway

__all__ = [
    "RESNET_LAYOUT",
    "dense_layers_pathway",
    "densenet_pathway",
    "derived_pathway",
    "resnet_pathway",
]
