/** Columns as wide as their widest cell: the first to the left, the others to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const format = (line: readonly string[]): string =>
    widths
      .map((width, column) => (column === 0 ? line[column]?.padEnd(width) : line[column]?.padStart(width)) ?? "")
      .join("  ")
      .trimEnd();
  return [format(head), widths.map((width) => "─".repeat(width)).join("  "), ...rows.map(format)].join("\n");
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(0);
}
