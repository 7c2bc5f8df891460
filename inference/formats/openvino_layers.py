"""The layer types of OpenVINO's own operation sets (opset1 to opset16), which only calculate. Case is ignored."""

from __future__ import annotations

_TYPES = """
    Parameter Result Const Constant ReadValue Assign If Loop TensorIterator Convert ConvertLike ConvertPromoteTypes
    Abs Acos Acosh Add Asin Asinh Atan Atanh BitwiseAnd BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift
    BitwiseXor Ceiling Clamp Cos Cosh CumSum Divide Equal Erf ErfInv Exp Floor FloorMod Floor_Mod Greater GreaterEqual
    IsFinite IsInf IsNaN Less LessEqual Log LogicalAnd LogicalNot LogicalOr LogicalXor Maximum Minimum Mod Multiply
    Negative NotEqual Power Round Sign Sin Sinh Sqrt SquaredDifference Subtract Tan Tanh Sqr
    ReduceL1 ReduceL2 ReduceLogicalAnd ReduceLogicalOr ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    Convolution ConvolutionBackpropData GroupConvolution GroupConvolutionBackpropData BinaryConvolution
    DeformableConvolution DeformablePSROIPooling AvgPool MaxPool AdaptiveAvgPool AdaptiveMaxPool
    BatchNormInference GroupNormalization GRN LRN MVN NormalizeL2 RMS RMSNorm
    Elu Gelu HardSigmoid HSigmoid HSwish LogSoftmax Mish PReLU ReLU Selu Sigmoid Softmax SoftPlus SoftSign Swish
    MatMul FullyConnected Einsum GroupedMatMul Inverse ScaledDotProductAttention
    GRUCell GRUSequence LSTMCell LSTMSequence RNNCell RNNSequence AUGRUCell AUGRUSequence
    CTCGreedyDecoder CTCGreedyDecoderSeqLen CTCLoss
    BatchToSpace Broadcast Bucketize Concat DepthToSpace Eye Gather GatherElements GatherND GatherTree Identity
    Interpolate NonZero OneHot Pad Range Reshape Reverse ReverseSequence Roll ScatterElementsUpdate ScatterNDUpdate
    ScatterUpdate SearchSorted SegmentMax Select ShapeOf ShuffleChannels Slice SliceScatter SpaceToBatch SpaceToDepth
    SparseFillEmptyRows Split Squeeze StridedSlice Tile TopK Transpose Unique Unsqueeze VariadicSplit Col2Im
    EmbeddingBagOffsets EmbeddingBagOffsetsSum EmbeddingBagPacked EmbeddingBagPackedSum EmbeddingSegmentsSum
    DFT IDFT IRDFT RDFT ISTFT STFT
    DetectionOutput ExtractImagePatches GenerateProposals GridSample MatrixNms MulticlassNms NMSRotated
    NonMaxSuppression PriorBox PriorBoxClustered Proposal PSROIPooling RegionYolo ReorgYolo ROIAlign ROIAlignRotated
    ROIPooling ExperimentalDetectronDetectionOutput ExperimentalDetectronGenerateProposalsSingleImage
    ExperimentalDetectronPriorGridGenerator ExperimentalDetectronROIFeatureExtractor ExperimentalDetectronTopKROIs
    I420toBGR I420toRGB NV12toBGR NV12toRGB
    FakeConvert FakeQuantize Multinomial RandomUniform StringTensorPack StringTensorUnpack
"""
LAYER_TYPES = frozenset(word.casefold() for word in _TYPES.split())
