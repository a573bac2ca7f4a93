/** How values stand in the cells of tables. */
export function percent(share: number): string {
  return (100 * share).toFixed(1);
}

/** With its sign, in points of a percentage. */
export function points(difference: number): string {
  return signed(100 * difference, 1);
}

export function signed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return value < 0 ? text : `+${text}`;
}

export function optional(value: number | null, format: (value: number) => string): string {
  return value === null ? "–" : format(value);
}

export function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
