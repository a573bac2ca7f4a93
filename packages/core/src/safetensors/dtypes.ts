/** Element types of a safetensors file that are read here, with their size in bytes. */
export const FILE_DTYPES = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1, I8: 1, BOOL: 1 } as const;
export type FileDType = keyof typeof FILE_DTYPES;

/** Sizes of the types that the format knows and this library does not read. */
export const UNREAD_DTYPES: Readonly<Record<string, number>> = {
  ...{ U64: 8, C64: 8, U32: 4, I16: 2, U16: 2 },
  ...{ F8_E5M2: 1, F8_E4M3: 1, F8_E5M2FNUZ: 1, F8_E4M3FNUZ: 1, F8_E8M0: 1 },
};

const word = new DataView(new ArrayBuffer(4));
const HALVES = /* @__PURE__ */ Float32Array.from({ length: 65536 }, (_, bits) => halfToFloat(bits));

function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Value of a half-precision number given as its 16 bits. */
export function fromFloat16(bits: number): number {
  return HALVES[bits] as number;
}

/** Nearest bfloat16, ties to even; NaN stays NaN. */
export function toBfloat16(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x0040;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** Nearest half-precision number, ties to even; too large becomes infinite, too small becomes subnormal or zero. */
export function toFloat16(value: number): number {
  word.setFloat32(0, value);
  const bits = word.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  return sign | roundHalfEven(Math.abs(value) * 2 ** 24);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** Names of the factors of a matrix in eight bits, beside its own in a file. */
export function scalesName(name: string): string {
  return `${name}.scales`;
}

export function inputScalesName(name: string): string {
  return `${name}.input_scales`;
}
