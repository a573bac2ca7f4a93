import type * as tf from "@tensorflow/tfjs-core";

export type KernelCall = Parameters<tf.KernelFunc>[0];

interface Defect {
  readonly backends: readonly string[];
  /** All if not given. */
  readonly kernels?: readonly string[];
  /** What the backend's own kernel does wrong. */
  readonly reason: string;
  /** In which calls; all if not given. */
  readonly when?: (call: KernelCall) => boolean;
}

const attribute = (call: KernelCall, name: string): unknown => call.attrs?.[name];
const hasFloat = ({ inputs }: KernelCall): boolean => Object.values(inputs).some((info) => info?.dtype === "float32");

const hasNoFloat = (call: KernelCall): boolean => !hasFloat(call);
const isEmpty = ({ inputs }: KernelCall): boolean => Object.values(inputs).some((info) => info?.shape.includes(0));

const WINDOWED = ["Conv2D", "FusedConv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "FusedDepthwiseConv2D"];
const POOLED = ["AvgPool", "AvgPoolGrad", "MaxPool", "MaxPoolGrad"];
const POOLED_3D = ["AvgPool3D", "AvgPool3DGrad", "MaxPool3D", "MaxPool3DGrad"];
const DILATED = ["Dilation2D", "Dilation2DBackpropFilter", "Dilation2DBackpropInput"];
const SPATIAL = ["Conv3D", "Conv3DBackpropFilterV2", "Conv3DBackpropInputV2", ...POOLED_3D];

/** Kernels of tfjs 4.22's backends that answer wrongly and in silence, found by comparing each with the cpu backend's. */
const DEFECTS: readonly Defect[] = [
  {
    backends: ["wasm", "tensorflow"],
    reason: "Tensors without an element: a division by zero, memory never written to, a wrong shape.",
    when: isEmpty,
  },
  {
    backends: ["wasm", "tensorflow"],
    kernels: ["FloorDiv"],
    reason: "The quotient of floats stays float32; in the other backends it is int32.",
    when: hasFloat,
  },
  {
    backends: ["wasm"],
    kernels: ["Sign"],
    reason: "Numbers close to zero have sign 0.",
  },
  {
    backends: ["wasm"],
    kernels: ["Cast"],
    reason: "A number cast to bool keeps its last byte: 2 becomes 2, 256 false.",
    when: (call) => attribute(call, "dtype") === "bool",
  },
  {
    backends: ["wasm"],
    kernels: ["ClipByValue", "IsFinite", "IsInf", "IsNan", "Reciprocal"],
    reason: "The bits of whole numbers are read as those of a float.",
    when: hasNoFloat,
  },
  {
    backends: ["wasm"],
    kernels: ["Reverse", "Select", "TopK"],
    reason: "Four bytes are moved for each bool, which has one.",
    when: ({ inputs }) => Object.entries(inputs).some(([name, info]) => name !== "condition" && info?.dtype === "bool"),
  },
  {
    backends: ["wasm"],
    kernels: ["GatherV2"],
    reason: "The places of a batch are read from beyond their end.",
    when: (call) => attribute(call, "batchDims") !== 0,
  },
  {
    backends: ["wasm"],
    kernels: ["OneHot"],
    reason: "A place beyond the depth is written to memory of another tensor.",
  },
  {
    backends: ["wasm"],
    kernels: ["StridedSlice"],
    reason: "An empty selection of whole numbers is float32.",
    when: hasNoFloat,
  },
  {
    backends: ["wasm"],
    kernels: ["Prelu"],
    reason: "Slopes are repeated along the last axis, wherever they stand.",
  },
  {
    backends: ["wasm"],
    kernels: ["_FusedMatMul"],
    reason: "Only the first row gets its bias, unless two plain matrices are multiplied.",
    when: (call) =>
      call.inputs["bias"] !== undefined &&
      (call.inputs["a"]?.shape[0] !== 1 ||
        attribute(call, "transposeA") === true ||
        attribute(call, "transposeB") === true),
  },
  {
    backends: ["wasm", "tensorflow"],
    kernels: [...WINDOWED, ...POOLED, ...POOLED_3D],
    reason: "How sizes are rounded, and paddings of their own, are not heeded.",
    when: (call) => typeof attribute(call, "pad") !== "string",
  },
  {
    backends: ["wasm"],
    kernels: WINDOWED,
    reason: "Channels that come first are read as if they came last.",
    when: (call) => attribute(call, "dataFormat") === "NCHW",
  },
  {
    backends: ["wasm"],
    kernels: [
      "Conv2DBackpropInput",
      "DepthwiseConv2dNative",
      "MaxPoolGrad",
      "MaxPoolWithArgmax",
      ...DILATED,
      ...SPATIAL,
    ],
    reason: "Parts of the result are never written to where windows do not overlap or reach over the border.",
  },
  {
    backends: ["tensorflow"],
    kernels: ["ClipByValue", "Round"],
    reason: "Whole numbers become 0.",
    when: hasNoFloat,
  },
];

/** Tells the calls of a kernel that the backend answers wrongly. */
export function defectsOf(backendName: string, kernelName: string): (call: KernelCall) => boolean {
  const known = DEFECTS.filter(
    ({ backends, kernels }) => backends.includes(backendName) && (kernels?.includes(kernelName) ?? true),
  );
  return (call) => known.some(({ when }) => when === undefined || when(call));
}
