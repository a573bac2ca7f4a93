/** Why a kernel of tfjs has no compiled form. */
export type ExclusionGroup =
  "image" | "fft" | "string" | "sparse" | "ragged" | "complex" | "dataDependentShape" | "random" | "neverRun";

export interface Exclusion {
  readonly group: ExclusionGroup;
  /** A sentence for the user: what to do instead. */
  readonly remedy: string;
}

const BEFOREHAND = "Do it before the step, in a function that is not compiled, and pass the result in as an argument.";

const GROUPS: Readonly<Record<ExclusionGroup, { readonly remedy: string; readonly kernels: readonly string[] }>> = {
  // Preparation of pictures: done once per example, on the host, never between two layers of a language model.
  image: {
    remedy: `Image kernels are not compiled. ${BEFOREHAND}`,
    kernels: [
      "CropAndResize",
      "Draw",
      "FlipLeftRight",
      "FromPixels",
      "ResizeBilinear",
      "ResizeBilinearGrad",
      "ResizeNearestNeighbor",
      "ResizeNearestNeighborGrad",
      "RotateWithOffset",
      "Transform",
    ],
  },
  // They read and write complex64 tensors, which a program does not have.
  fft: {
    remedy: `Fourier transforms are not compiled: a program has no complex numbers. ${BEFOREHAND}`,
    kernels: ["FFT", "IFFT"],
  },
  complex: {
    remedy: "Complex numbers are not compiled. Keep the real and the imaginary part in two float32 tensors.",
    kernels: ["Complex", "ComplexAbs", "Imag", "Real"],
  },
  string: {
    remedy: `Strings are not compiled. ${BEFOREHAND}`,
    kernels: ["StaticRegexReplace", "StringNGrams", "StringSplit", "StringToHashBucketFast"],
  },
  sparse: {
    remedy: "Sparse kernels are not compiled. Use tf.gather, tf.scatterND or tf.unsortedSegmentSum on dense tensors.",
    kernels: ["SparseFillEmptyRows", "SparseReshape", "SparseSegmentMean", "SparseSegmentSum", "SparseToDense"],
  },
  ragged: {
    remedy: "Ragged tensors are not compiled. Pad the rows to one length and pass a mask.",
    kernels: ["RaggedGather", "RaggedRange", "RaggedTensorToTensor"],
  },
  // A program's shapes are fixed when it is built, so no result may be as long as its values happen to demand.
  dataDependentShape: {
    remedy: `A compiled program has fixed shapes. Use an operation whose result has one shape for all values (tf.where, a mask, tf.topk), or: ${BEFOREHAND}`,
    kernels: ["NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5", "Unique"],
  },
  // A draw on the host would be made once, while the program is built, and repeated by every run.
  random: {
    remedy: "Random draws are not compiled. Draw before the step and pass the numbers in as an argument.",
    kernels: ["Multinomial"],
  },
  // Names that tfjs-core lists but none of its operations calls: tf.logSoftmax, tf.logicalXor, tf.pool, tf.lowerBound,
  // tf.upperBound and tf.linalg.bandPart are made of other kernels.
  neverRun: {
    remedy: "No operation of tfjs runs this kernel. Call the operation of tfjs that has its name.",
    kernels: ["LogSoftmax", "LogicalXor", "LowerBound", "MatrixBandPart", "Pool", "UpperBound"],
  },
};

/** Every kernel of tfjs-core that is not compiled, with its reason. All others are in the registry: test/coverage.test.ts. */
export const EXCLUDED: ReadonlyMap<string, Exclusion> = new Map(
  (Object.keys(GROUPS) as ExclusionGroup[]).flatMap((group) =>
    GROUPS[group].kernels.map((kernel): [string, Exclusion] => [kernel, { group, remedy: GROUPS[group].remedy }]),
  ),
);
