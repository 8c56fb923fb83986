"""Networks for 32×32 images, as their papers and the DHM authors' experiments define them.

Each is a :class:`~reid_dhm.models.cifar.network.StagedNetwork`: a stem and three stages that end in
8×8 maps, without a classifier. Convolutions start as He et al. (2015), fan out.
"""
