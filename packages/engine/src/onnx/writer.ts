import type {
  AttributeValue,
  OnnxConstant,
  OnnxGraph,
  OnnxNode,
  OnnxResult,
  OnnxStorage,
  OnnxType,
} from "./emitter.ts";
import { ONNX_TYPE } from "./emitter.ts";
import { carrierOf } from "./arguments.ts";
import type { LoweredGraph, LoweredInput } from "./lower.ts";
import { ProtobufWriter } from "./protobuf.ts";

/** The newest operator set that every operator written here exists in and that ONNX Runtime 1.30 runs. */
const OPSET = 18;
/** Of the operators written here, `BitCast` alone is newer; the others mean the same in its set. */
const OPSET_OF_BITCAST = 26;
const IR_VERSION = 9;

/** AttributeProto.AttributeType. */
const ATTRIBUTE_TYPE = { float: 1, int: 2, string: 3, graph: 5, floats: 6, ints: 7 } as const;

/** The program as the bytes of an ONNX file. Field numbers are those of onnx.proto. */
export function writeModel({ emit, inputs, outputs }: LoweredGraph): Uint8Array {
  const opset = (domain: string, version: number) => (message: ProtobufWriter) =>
    void message.text(1, domain).int(2, version);
  return new ProtobufWriter()
    .int(1, IR_VERSION)
    .text(2, "peftjs")
    .message(7, (graph) => {
      for (const node of emit.nodes) graph.message(1, (message) => writeNode(message, node));
      graph.text(2, "program");
      for (const constant of emit.constants) graph.message(5, (message) => writeTensor(message, constant));
      for (const input of inputs) graph.message(11, (message) => writeValue(message, input));
      for (const output of outputs) graph.message(12, (message) => writeValue(message, output));
    })
    .message(8, opset("", has(emit.nodes, "BitCast") ? OPSET_OF_BITCAST : OPSET))
    .message(8, opset("com.microsoft", 1))
    .finish();
}

/** Whether a node is of the type, branches included. */
function has(nodes: readonly OnnxNode[], type: string): boolean {
  return nodes.some(
    (node) =>
      node.type === type || Object.values(node.attributes).some((value) => isGraph(value) && has(value.nodes, type)),
  );
}

/** NodeProto. */
function writeNode(message: ProtobufWriter, node: OnnxNode): void {
  for (const input of node.inputs) message.text(1, input);
  for (const output of node.outputs) message.text(2, output);
  message.text(3, node.name).text(4, node.type);
  for (const [name, value] of Object.entries(node.attributes))
    message.message(5, (attribute) => writeAttribute(attribute, name, value));
  message.text(7, node.domain);
}

/** AttributeProto. */
function writeAttribute(message: ProtobufWriter, name: string, value: AttributeValue): void {
  message.text(1, name);
  if (typeof value === "number") message.float(2, value).int(20, ATTRIBUTE_TYPE.float);
  else if (typeof value === "bigint") message.int(3, value).int(20, ATTRIBUTE_TYPE.int);
  else if (typeof value === "string") message.text(4, value).int(20, ATTRIBUTE_TYPE.string);
  else if (isGraph(value)) message.message(6, (graph) => writeGraph(graph, name, value)).int(20, ATTRIBUTE_TYPE.graph);
  else if (value.every((item): item is bigint => typeof item === "bigint")) {
    for (const item of value) message.int(8, item);
    message.int(20, ATTRIBUTE_TYPE.ints);
  } else {
    for (const item of value as readonly number[]) message.float(7, item);
    message.int(20, ATTRIBUTE_TYPE.floats);
  }
}

function isGraph(value: AttributeValue): value is OnnxGraph {
  return typeof value === "object" && "nodes" in value;
}

/** GraphProto, of a branch. */
function writeGraph(message: ProtobufWriter, name: string, { nodes, outputs }: OnnxGraph): void {
  for (const node of nodes) message.message(1, (inner) => writeNode(inner, node));
  message.text(2, name);
  for (const output of outputs) message.message(12, (inner) => writeValue(inner, output));
}

/** TensorProto. */
function writeTensor(message: ProtobufWriter, { name, type, shape, data }: OnnxConstant): void {
  for (const size of shape) message.int(1, size);
  message.int(2, ONNX_TYPE[type]).text(8, name);
  message.blob(9, new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength));
}

/** ValueInfoProto: a tensor of known shape. */
function writeValue(
  message: ProtobufWriter,
  { onnxName, value: { shape, dtype }, storage }: OnnxResult & Pick<LoweredInput, "storage">,
): void {
  const carried: OnnxType | OnnxStorage = storage === undefined ? dtype : carrierOf(storage.type);
  message.text(1, onnxName).message(2, (type) =>
    type.message(1, (tensor) => {
      tensor.int(1, ONNX_TYPE[carried]).message(2, (dimensions) => {
        for (const size of shape) dimensions.message(1, (dimension) => void dimension.int(1, size));
      });
    }),
  );
}
