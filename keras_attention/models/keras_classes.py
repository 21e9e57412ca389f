"""Keras classes that a model of somebody else may hold, and those it may not.

Allowed is what reads no file and holds no code. What is on no list is
refused; a test asks for a decision on each public layer of Keras.
"""

import inspect
import sys

import keras

LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D
    AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention
    AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
    AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D
    Convolution1D Convolution1DTranspose Convolution2D Convolution2DTranspose
    Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D
    CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout
    ELU EinsumDense Embedding Equalization Flatten GRU GRUCell
    GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D
    GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D
    GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization GroupQueryAttention HashedCrossing Hashing Identity
    InputLayer LSTM LSTMCell LayerNormalization LeakyReLU Masking
    MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D MaxPooling1D
    MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp
    MultiHeadAttention Multiply Normalization PReLU Permute Pipeline
    RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform
    RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue
    RandomInvert RandomPerspective RandomPosterization RandomRotation
    RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
    ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding
    STFTSpectrogram SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax Solarization
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
    StackedRNNCells Subtract TimeDistributed UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)
REFUSED_LAYERS = {
    "FlaxLayer": "it runs code",
    "InputSpec": "it is not a layer",
    "IntegerLookup": "it reads a vocabulary from any file",
    "JaxLayer": "it runs code",
    "Lambda": "it holds code",
    "Layer": "it is an abstract base class",
    "StringLookup": "it reads a vocabulary from any file",
    "TFSMLayer": "it runs the graph of a SavedModel",
    "TextVectorization": "it reads a vocabulary from any file",
    "TorchModuleWrapper": "it unpickles code",
    "Wrapper": "it is an abstract base class",
}

# All public classes of these modules, and the functions of some.
MODULES = frozenset(
    """
    activations constraints dtype_policies initializers losses metrics
    optimizers optimizers.schedules quantizers regularizers
    """.split()
)
FUNCTION_MODULES = ("activations", "losses", "metrics")
NOT_FUNCTIONS = frozenset({"deserialize", "get", "serialize"})
TOP_LEVEL = frozenset(
    {"DTypePolicy", "FloatDTypePolicy", "Model", "Sequential"}
)

# What a functional model holds has no public name.
PRIVATE = "keras.src"
FUNCTIONAL = (f"{PRIVATE}.models.functional", "Functional")
OPERATION_MODULES = frozenset(
    f"{PRIVATE}.ops.{name}" for name in ("linalg", "math", "nn", "numpy")
)


def allowed_class(module: str | None, name: str) -> type | None:
    """Returns the Keras class of this name if configs may hold it, or None.

    Args:
        module: name of the module as Keras writes it, "keras.layers".
        name: name of the class.
    """
    if module is None:
        return None
    if module in OPERATION_MODULES or (module, name) == FUNCTIONAL:
        found = vars(sys.modules[module]).get(name)
        return found if _is_class(found, keras.Operation) else None
    if module == "keras":
        return getattr(keras, name) if name in TOP_LEVEL else None
    if module == "keras.layers":
        return getattr(keras.layers, name, None) if name in LAYERS else None
    public = module.removeprefix("keras.")
    if public == module or public not in MODULES or name.startswith("_"):
        return None
    found = getattr(_public_module(public), name, None)
    return found if _is_class(found, object) else None


def allowed_function(module: str | None, name: str) -> bool:
    """Returns whether configs may hold the Keras function of this name.

    Args:
        module: "builtins", as Keras writes it for its own functions, or
            "keras.activations" and the like.
        name: name of the function.
    """
    if name in NOT_FUNCTIONS or name.startswith("_"):
        return False
    known = [f"keras.{name}" for name in FUNCTION_MODULES]
    if module not in ("builtins", *known):
        return False
    modules = known if module == "builtins" else [module]
    return any(
        inspect.isfunction(
            getattr(_public_module(m.removeprefix("keras.")), name, None)
        )
        for m in modules
    )


def _is_class(found, base):
    return inspect.isclass(found) and issubclass(found, base)


def _public_module(name):
    module = keras
    for part in name.split("."):
        module = getattr(module, part)
    return module
