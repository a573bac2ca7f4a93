import type { HostTensor, Named } from "@peftjs/core";

/** Scalars of the blocks and rules of a step lie beside those of the rest under names with a tag behind them. */
const MARK = "@";

export function blockTag(block: number): string {
  return `${MARK}block ${block}`;
}

/** Name of the scalar that says whether a block learns: 1 or 0. */
export function openName(block: number): string {
  return `open${blockTag(block)}`;
}

export function ruleTag(key: string): string {
  return `${MARK}${key}`;
}

export function tagged(scalars: Named<HostTensor>, tag: string): Named<HostTensor> {
  return Object.fromEntries(Object.entries(scalars).map(([name, value]) => [`${name}${tag}`, value]));
}

/** The scalars with a tag, without it; with the tag null, those without any. */
export function untagged<T>(scalars: Named<T>, tag: string | null): Named<T> {
  const entries = Object.entries(scalars);
  if (tag === null) return Object.fromEntries(entries.filter(([name]) => !name.includes(MARK)));
  const own = entries.filter(([name]) => name.endsWith(tag));
  return Object.fromEntries(own.map(([name, value]) => [name.slice(0, -tag.length), value]));
}
