"""TensorFlow's operations that only calculate, and others with the reason to give when they are refused.

What is not listed is refused too: a new TensorFlow may bring operations that nobody has reviewed.
"""

from __future__ import annotations

_FLOW = """
    Placeholder PlaceholderV2 PlaceholderWithDefault Const Identity IdentityN RefIdentity NoOp StopGradient
    PreventGradient ControlTrigger GuaranteeConst Snapshot EnsureShape FakeParam Assert CheckNumerics CheckNumericsV2
    PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case StatelessCase For MapDefun
    Switch Merge Enter Exit NextIteration LoopCond RefSwitch RefMerge RefEnter RefExit RefNextIteration DeviceIndex
    Print DeepCopy Copy CopyHost ToBool HostConst _Arg _Retval _ArrayToList _ListToArray
"""
_VARIABLES = """
    VarHandleOp ReadVariableOp VariableV2 Variable VarIsInitializedOp IsVariableInitialized VariableShape
    AssignVariableOp AssignAddVariableOp AssignSubVariableOp Assign AssignAdd AssignSub DisableCopyOnRead
    ResourceGather ResourceGatherNd DestroyResourceOp _ReadVariablesOp _VarHandlesOp TemporaryVariable
    DestroyTemporaryVariable
"""
_SHAPES = """
    Shape ShapeN Size Rank Reshape Squeeze ExpandDims Transpose ConjugateTranspose Concat ConcatV2 ConcatOffset
    ParallelConcat Pack Unpack Split SplitV Slice StridedSlice TensorStridedSliceUpdate Gather GatherV2 GatherNd
    ScatterNd ScatterNdNonAliasingAdd TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate InplaceAdd InplaceSub InplaceUpdate Empty Tile Pad PadV2 MirrorPad Fill ZerosLike OnesLike Range
    LinSpace BroadcastTo BroadcastArgs BroadcastGradientArgs Reverse ReverseV2 ReverseSequence Roll Where Select
    SelectV2 OneHot Diag DiagPart MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3
    MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixBandPart Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2
    ListDiff InvertPermutation DynamicPartition DynamicStitch ParallelDynamicStitch SpaceToBatch SpaceToBatchND
    BatchToSpace BatchToSpaceND SpaceToDepth DepthToSpace UnravelIndex LowerBound UpperBound Bitcast Cast
    DataFormatDimMap DataFormatVecPermute EditDistance
"""
_MATHEMATICS = """
    Abs Acos Acosh Add AddN AddV2 AccumulateNV2 All Angle Any ApproximateEqual ApproxTopK ArgMax ArgMin Asin Asinh
    Atan Atan2 Atanh BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e
    BesselY0 BesselY1 Betainc Bincount DenseBincount BitwiseAnd BitwiseOr BitwiseXor Bucketize Ceil ClipByValue
    Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp Dawsn Digamma Div DivNoNan Equal Erf
    Erfc Erfinv EuclideanNorm Exp Expint Expm1 Floor FloorDiv FloorMod FresnelCos FresnelSin Greater GreaterEqual
    HistogramFixedWidth Igamma Igammac Imag Inv Invert IsFinite IsInf IsNan L2Loss LeftShift Less LessEqual Lgamma
    Log Log1p LogicalAnd LogicalNot LogicalOr Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter
    NotEqual NthElement Polygamma PopulationCount Pow Prod Real RealDiv Reciprocal RightShift Rint Round Rsqrt
    SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2
    Sigmoid Sign Sin Sinh Spence Sqrt Square SquaredDifference Sub Sum Tan Tanh TopK TopKV2 TruncateDiv TruncateMod
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta InTopK
    InTopKV2
"""
_MATRICES = """
    MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 SparseMatMul Einsum Cholesky MatrixDeterminant LogMatrixDeterminant
    MatrixExponential MatrixInverse MatrixLogarithm MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve
    BandedTriangularSolve TridiagonalMatMul TridiagonalSolve Qr Svd Eig Lu SelfAdjointEig SelfAdjointEigV2 FFT FFT2D
    FFT3D FFTND IFFT IFFT2D IFFT3D IFFTND RFFT RFFT2D RFFT3D RFFTND IRFFT IRFFT2D IRFFT3D IRFFTND
"""
_LAYERS = """
    AvgPool AvgPool3D BiasAdd BiasAddV1 BatchNormWithGlobalNormalization Conv Conv2D Conv2DBackpropInput
    Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput Conv3DBackpropInputV2 DepthwiseConv2dNative Dilation2D Elu
    FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D
    FusedResizeAndPadConv2D LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Relu Relu6 Selu
    Softmax Softplus Softsign SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits BlockLSTM BlockLSTMV2
    LSTMBlockCell GRUBlockCell CudnnRNN CudnnRNNV2 CudnnRNNV3 CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2
    CudnnRNNParamsSize CTCBeamSearchDecoder CTCGreedyDecoder CTCLoss CTCLossV2 _FusedConv2D _FusedConv3D
    _FusedDepthwiseConv2dNative _FusedMatMul _FusedBatchNormEx
"""
_GRADIENTS = """
    BiasAddGrad CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3 SigmoidGrad StridedSliceGrad TanhGrad
"""
"""Used in the backward functions that Keras 2's LSTM and GRU keep in a SavedModel. These do not run, but their
attributes would allow TensorFlow to swap them for the forward functions."""
_QUANTIZED = """
    Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
    QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
    QuantizeDownAndShrinkRange QuantizeV2 QuantizedAdd QuantizedAvgPool QuantizedBiasAdd QuantizedConcat
    QuantizedConcatV2 QuantizedConv2D QuantizedDepthwiseConv2D QuantizedMatMul QuantizedMaxPool QuantizedMul
    QuantizedRelu QuantizedRelu6 QuantizedReshape QuantizedResizeBilinear RequantizationRange Requantize
    UniformDequantize UniformQuantize UniformQuantizedAdd UniformQuantizedClipByValue UniformQuantizedConvolution
    UniformQuantizedConvolutionHybrid UniformQuantizedDot UniformQuantizedDotHybrid UniformRequantize
"""
_IMAGES_AND_SOUND = """
    AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation CombinedNonMaxSuppression CropAndResize DecodeAndCropJpeg
    DecodeBase64 DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeRaw DecodePaddedRaw DecodeWav DecodeWebP
    DrawBoundingBoxes DrawBoundingBoxesV2 EncodeBase64 EncodeJpeg EncodePng EncodeWav ExtractGlimpse ExtractGlimpseV2
    ExtractImagePatches ExtractJpegShape ExtractVolumePatches GenerateBoundingBoxProposals HSVToRGB
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic
    ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate AudioSpectrogram Mfcc AudioMicrofrontend
"""
_RANDOM = """
    Multinomial ParameterizedTruncatedNormal RandomCrop RandomGamma RandomIndexShuffle RandomPoisson RandomPoissonV2
    RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt TruncatedNormal SampleDistortedBoundingBox
    SampleDistortedBoundingBoxV2 StatefulRandomBinomial StatefulStandardNormal StatefulStandardNormalV2
    StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt RngReadAndSkip RngSkip
    StatelessMultinomial StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2
    StatelessRandomGammaV3 StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg
    StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform
    StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessSampleDistortedBoundingBox StatelessShuffle
    StatelessTruncatedNormal StatelessTruncatedNormalV2 NonDeterministicInts
"""
_TEXT_AND_TABLES = """
    AsString StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip
    StringToHashBucket StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Substr ReduceJoin
    RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace UnicodeDecode UnicodeDecodeWithOffsets
    UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin Fingerprint HashTable HashTableV2 InitializeTable
    InitializeTableV2 LookupTableFind LookupTableFindV2 LookupTableExport LookupTableExportV2 LookupTableImport
    LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize LookupTableSizeV2 MutableDenseHashTable
    MutableDenseHashTableV2 MutableHashTable MutableHashTableV2 MutableHashTableOfTensors MutableHashTableOfTensorsV2
    AnonymousHashTable AnonymousMutableHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTableOfTensors
    ParseExample ParseExampleV2 ParseSingleExample ParseSequenceExample ParseSequenceExampleV2
    ParseSingleSequenceExample ParseTensor SerializeTensor DecodeCSV DecodeJSONExample
"""
_COLLECTIONS = """
    EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
    TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList
    TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack EmptyTensorMap TensorMapErase
    TensorMapHasKey TensorMapInsert TensorMapLookup TensorMapSize TensorMapStackKeys TensorArrayV2 TensorArrayV3
    TensorArrayCloseV2 TensorArrayCloseV3 TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGatherV2
    TensorArrayGatherV3 TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatterV2 TensorArrayScatterV3
    TensorArraySizeV2 TensorArraySizeV3 TensorArraySplitV2 TensorArraySplitV3 TensorArrayWriteV2 TensorArrayWriteV3
    OptionalFromValue OptionalGetValue OptionalHasValue OptionalNone CompositeTensorVariantFromComponents
    CompositeTensorVariantToComponents
"""
_SPARSE_AND_RAGGED = """
    SparseAdd SparseBincount SparseConcat SparseCountSparseOutput DenseCountSparseOutput RaggedCountSparseOutput
    RaggedBincount SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv
    SparseDenseCwiseMul SparseFillEmptyRows SparseReduceMax SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse
    SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN
    SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax
    SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul SparseToDense
    DenseToDenseSetOperation DenseToSparseSetOperation SparseToSparseSetOperation SetSize SerializeSparse
    SerializeManySparse DeserializeSparse DeserializeManySparse RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange
    RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant
"""

PURE_OPS = frozenset(
    f"{_FLOW} {_VARIABLES} {_SHAPES} {_MATHEMATICS} {_MATRICES} {_LAYERS} {_GRADIENTS} {_QUANTIZED} {_RANDOM} "
    f"{_IMAGES_AND_SOUND} {_TEXT_AND_TABLES} {_COLLECTIONS} {_SPARSE_AND_RAGGED}".split()
)
# Allowed only in restoring the weights, where they read the model's own variables.
RESTORE_OPS = frozenset(["Restore", "RestoreSlice", "RestoreV2", "LookupTableInsert"])

VARIABLE_OPS = frozenset(["VarHandleOp", "VariableV2", "Variable", "_VarHandlesOp", "_ReadVariablesOp"])
WRITING_OPS = frozenset(["AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"])
"""Those of PURE_OPS that write into a variable of TensorFlow 2; TensorFlow 1's are frozen when they are loaded."""

_REASONS = {
    "reads or writes files": """
        WriteFile ReadFile MatchingFiles MatchingFilesDataset WholeFileReader WholeFileReaderV2 TextLineReader
        TextLineReaderV2 TFRecordReader TFRecordReaderV2 FixedLengthRecordReader FixedLengthRecordReaderV2 LMDBReader
        TextLineDataset TFRecordDataset TFRecordDatasetV2 FixedLengthRecordDataset FixedLengthRecordDatasetV2 CSVDataset
        CSVDatasetV2 SqlDataset Save SaveV2 SaveSlices Restore RestoreV2 RestoreSlice MergeV2Checkpoints ShardedFilename
        SaveDataset SaveDatasetV2 LoadDataset DatasetToTFRecord LoadAndRemapMatrix GenerateVocabRemapping ImmutableConst
        DumpTensor RecordInput DecodeProtoV2 EncodeProto FileSystemSetConfiguration CacheDataset CacheDatasetV2
        SnapshotDataset SnapshotDatasetV2 CreateSummaryFileWriter CreateSummaryDbWriter WriteSummary WriteGraphSummary
        CalibrationStatisticsSaver DistributedSave
    """,
    "reads its vocabulary from a file of its own": "InitializeTableFromTextFile InitializeTableFromTextFileV2",
    "calls Python code, which is not in the file": "PyFunc PyFuncStateless EagerPyFunc",
    "calls other machines": """
        RpcCall RpcClient RpcServer RpcServerStart RpcServerRegister RemoteCall DataServiceDataset DataServiceDatasetV2
        DataServiceDatasetV3 DataServiceDatasetV4 Send Recv _Send _Recv _HostSend _HostRecv CollectiveReduce
        CollectiveReduceV2 CollectiveGather CollectiveBcastSend CollectiveBcastRecv
    """,
}
REASONS = {op: reason for reason, ops in _REASONS.items() for op in ops.split()}

# DataType of types.proto → numpy's name; other types (resource, variant, …) cannot be inputs or outputs here.
DTYPES = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 7: "string", 8: "complex64", 9: "int64",
    10: "bool", 11: "int8", 12: "uint8", 13: "int32", 14: "bfloat16", 15: "int16", 16: "uint16", 17: "uint16",
    18: "complex128", 19: "float16", 22: "uint32", 23: "uint64",
}  # fmt: skip

# Operations with more than one output; those in COUNTED_BY give their number in an attribute.
OUTPUT_COUNTS = {"TopKV2": 2, "TopK": 2, "Unique": 2, "CombinedNonMaxSuppression": 4, "NonMaxSuppressionV5": 3}
COUNTED_BY = {"Split": "num_split", "SplitV": "num_split", "Unpack": "num"}
