"""Every hyperparameter, its unit and where its default comes from. Files and variants override.

Sources: "Sec.", "Eq.", "Table", "A.1" are places in the ESAT paper; "OSTrack" and "AQATrack" are
the released configurations of those trackers; "our choice" is explained in docs/paper_notes.md.
"""

from ml_collections import ConfigDict


def get_base_config() -> ConfigDict:
    """ESAT-ViTBase at 384 px, as in paper Sec. 4.1 and A.1, unlocked so that files can override."""
    config = ConfigDict()

    # Starts every random stream: parameters, drop path, data order. OSTrack.
    config.seed = 42
    # Template/search pairs a step on all devices together (a pair has `search.number` search
    # frames). The paper's 16 read as per GPU on 8 GPUs; OSTrack's learning rate implies 128.
    config.batch_size = 128
    # Type of activations: "float32" or "bfloat16"; parameters stay float32. OSTrack has AMP off.
    config.compute_dtype = "float32"
    # PyTorch file that initialises the backbone, a path; "" starts from random values. The paper
    # uses MAE's ViT-B (Sec. 4.1).
    config.pretrained = ""

    config.backbone = ConfigDict()
    # Trunk: "vit" or "hivit". Sec. 4.1.
    config.backbone.name = "vit"
    # Features a token. ViT-B.
    config.backbone.width = 768
    # Attention blocks, 12 encoder layers (Sec. 4.1).
    config.backbone.depth = 12
    # Attention heads; the head dimension is width / heads. ViT-B.
    config.backbone.heads = 12
    # Side of a token in pixels. OSTrack.
    config.backbone.patch_size = 16
    # Learned factors after attention and MLP; only DINOv2-like trunks have them.
    config.backbone.layer_scale = False
    # A class token in front of the template tokens; only DINOv2-like trunks use it.
    config.backbone.cls_token = False
    # A learned vector on the template tokens that the target's box touches. Our choice, for small
    # trackers.
    config.backbone.target_mark = False
    # Largest probability to drop a residual branch, rising linearly with depth from 0. OSTrack.
    config.backbone.drop_path = 0.1

    config.template = ConfigDict()
    # Side of the crop in pixels. Sec. 4.1.
    config.template.size = 192
    # Side of the crop over the square root of the target's area. OSTrack.
    config.template.factor = 2.0
    # Training only: largest shift times 2, over the square root of the target's area. OSTrack.
    config.template.center_jitter = 0.0
    # Training only: sigma of the log of the side's random factor. OSTrack.
    config.template.scale_jitter = 0.0

    config.search = ConfigDict()
    # As for the template. Size: Sec. 4.1; the others: OSTrack.
    config.search.size = 384
    config.search.factor = 5.0
    config.search.center_jitter = 4.5
    config.search.scale_jitter = 0.5
    # Search frames a sample. OSTrack 1, AQATrack 4.
    config.search.number = 1

    config.fda = ConfigDict()
    # Force-directed attention in every attention block, or plain attention. Sec. 3.3.
    config.fda.enabled = True
    # Weights of attraction and repulsion, unitless. Table 4.
    config.fda.alpha = 0.1
    config.fda.beta = 0.1
    # Scale of the squared distance, 1 / feature unit². 1 / head dimension: our choice, the paper
    # names delta (Eq. 5) without a value.
    config.fda.delta = 1 / 64
    # "xla", "fused" (GPU kernel, 16-bit compute types) or "auto", the kernel where it can run.
    config.fda.implementation = "auto"

    config.ce = ConfigDict()
    # Candidate elimination after the attention of these blocks, counted from 0. OSTrack.
    config.ce.layers = (3, 6, 9)
    # Share of the current search tokens that each of these layers keeps, one per layer. OSTrack.
    config.ce.keep_ratio = (0.7, 0.7, 0.7)
    # Template tokens whose attention ranks the candidates: "CTR_POINT" the middle one, "CTR_REC"
    # the middle ones, "GT_BOX" those in the target's box, "ALL". OSTrack.
    config.ce.template_range = "CTR_POINT"
    # Epochs in which the ratio stays 1, then epochs of the cosine down to keep_ratio. OSTrack.
    config.ce.start_epoch = 20
    config.ce.warm_epochs = 80
    # Training only: distinct ratios on the way down, 1 to 8; each is one compilation. The ratio of
    # an epoch moves by up to 0.5 / (max_ratios - 1) of the way. Our choice; OSTrack has 81.
    config.ce.max_ratios = 6

    config.head = ConfigDict()
    # Channels of the first convolution of each branch; the next three halve them. OSTrack.
    config.head.channels = 256

    config.spl = ConfigDict()
    # Output channels of the FCN's 3x3 Conv-BN-ReLU layers. Our choice: it fits the +6.9 M
    # parameters and +2.5 G MACs of Table 2's rows without FDA.
    config.spl.channels = (384, 192, 96)
    # One FCN for template and search, or two. Sec. 3.2: two separate ones.
    config.spl.shared = False
    # Absolute labels of template tokens: "box" the cells that the target's box covers, "center"
    # the central cells of the search crop. Sec. 3.1 says both; our choice.
    config.spl.template_labels = "box"
    # Search tokens that candidate elimination removed: "ignore" leaves them out of the position
    # losses' mean, "include" counts them. The paper is silent; our choice.
    config.spl.on_removed = "ignore"

    config.loss = ConfigDict()
    # Weights of Eq. 8, unitless; the focal loss has 1. The position heads are built if abs or pn
    # is not 0.
    config.loss.giou = 2.0
    config.loss.l1 = 5.0
    config.loss.abs = 0.01
    config.loss.pn = 0.1
    # Weight of the same GIoU and L1 losses of the box read at the true cell, beside the one at the
    # highest score. OSTrack: 0.
    config.loss.true_cell = 0.0

    config.optim = ConfigDict()
    # An epoch is data.samples_per_epoch samples. Sec. 4.1.
    config.optim.epochs = 300
    # Epochs before the learning rates are multiplied by lr_drop_factor, once. Sec. 4.1.
    config.optim.lr_drop_epoch = 240
    config.optim.lr_drop_factor = 0.1
    # "step", the drop above, or "cosine" from the first step to 0 at the last, without the drop.
    # OSTrack: step.
    config.optim.schedule = "step"
    # Steps of a linear rise of the learning rates at the start. OSTrack: none.
    config.optim.warmup_steps = 0
    # AdamW's rate of each top-level module; "default" serves the modules not named. Sec. 4.1.
    config.optim.lr = ConfigDict({"backbone": 4e-5, "default": 4e-4})
    # On every parameter, biases and norms too. Value: Sec. 4.1; on every one: OSTrack.
    config.optim.weight_decay = 1e-4
    # Largest L2 norm of all gradients together. OSTrack; the paper is silent.
    config.optim.grad_clip_norm = 0.1
    # Decay of the averaged parameters that validation and export then use; 0 for none. OSTrack:
    # none.
    config.optim.ema_decay = 0.0
    # Statistics of BatchNorm: "global", of the whole batch, or "device", of each device's part (and
    # of each of its micro-batches), as in OSTrack, whose running statistics are the first one's.
    # Our choice: global, so that the number of devices changes nothing.
    config.optim.batch_norm = "global"
    # Micro-batches in which the backbone sees a batch, to save memory: the same step, at the price
    # of computing the backbone's forward pass twice. OSTrack: 1.
    config.optim.accumulate = 1
    # Recompute each block in the backward pass instead of storing its activations. OSTrack: no.
    config.optim.remat = False
    # Split large parameters and their moments over the devices instead of copying them to each.
    # OSTrack: no.
    config.optim.fsdp = False

    config.data = ConfigDict()
    # Folder with one folder per data set; "" reads the environment variable ESAT_DATA.
    config.data.root = ""
    # Training sets. Sec. 4.1; got10k_vottrain, a list meant to leave out the sequences of VOT, is
    # OSTrack's.
    config.data.datasets = ("lasot_train", "got10k_vottrain", "coco", "trackingnet_train")
    # How often each is drawn, relative to the others; () for equally often. OSTrack: 1 each.
    config.data.ratios = ()
    # Samples drawn an epoch. OSTrack.
    config.data.samples_per_epoch = 60_000
    # Largest distance of template and search frame, in frames, exclusive. OSTrack.
    config.data.max_interval = 200
    # Probability that template and search both turn grey. OSTrack.
    config.data.gray_probability = 0.05
    # Probability of a horizontal flip: once for both frames, once more for each crop. OSTrack.
    config.data.flip_probability = 0.5
    # A crop's brightness is multiplied by a number in 1 ± this. OSTrack.
    config.data.brightness_jitter = 0.2
    # Each crop's contrast and saturation are multiplied by numbers in 1 ± this, and each of its
    # colour channels by one in 1 ± half of it. OSTrack: 0.
    config.data.color_jitter = 0.0
    # Search crops of stills are turned by up to so many degrees, and their width and height each
    # stretched by a factor of up to e to the power of this, either way. OSTrack: 0.
    config.data.still_turn = 0.0
    config.data.still_stretch = 0.0
    # They are also bent by waves of up to this share of the target's width and height. OSTrack: 0.
    config.data.still_bend = 0.0
    # Probability that a crop is blurred, made coarse or compressed, each by itself. OSTrack: 0.
    config.data.degrade_probability = 0.0
    # Decode JPEGs at 1/2, 1/4 or 1/8 of their size for crops that become smaller anyway: faster,
    # and such crops are smoother than OSTrack's. Our choice: off.
    config.data.reduced_decoding = False
    # Processes that read and crop on each host; 0 reads in the main process. OSTrack: 10 a GPU.
    config.data.num_workers = 10
    # Names of sequences to leave out, for files known to be damaged.
    config.data.skip_sequences = ()
    # Largest share of an epoch's samples (and ten more) for which draws may be skipped because of
    # damaged files and boxes, and of a data set's sequences (and ten more, at most half) that may
    # be left out for their annotations; then the run stops with the list. Our choice; OSTrack
    # skips silently.
    config.data.max_skip_share = 0.01
    # Validation set, its samples, and the epochs between validations; nothing is selected by it.
    # OSTrack.
    config.data.val_datasets = ("got10k_votval",)
    config.data.val_samples = 10_000
    config.data.val_every_epochs = 20

    config.checkpoint = ConfigDict()
    # Steps between checkpoints; one more is written after each validation and at the end. Ours.
    config.checkpoint.every_steps = 1_000
    # Newest checkpoints kept, and those with the best validation IoU, for a look at them: the
    # weights file holds the last epoch's, which OSTrack tests. Our choice.
    config.checkpoint.keep_last = 2
    config.checkpoint.keep_best = 1

    config.log = ConfigDict()
    # Steps between rows of the log; OSTrack 50.
    config.log.every_steps = 50
    # Validation pairs whose predictions are drawn at each validation. Our choice.
    config.log.images = 4

    config.tracker = ConfigDict()
    # Score of the box, 0 to 1, under which a frame is reported lost. Our choice;
    # launch.calibrate_lost chooses it for given weights.
    config.tracker.lost_threshold = 0.3

    return config
