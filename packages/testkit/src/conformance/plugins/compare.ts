import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HostTensor, Named } from "@peftjs/core";
import { expect } from "vitest";
import type { Comparable, Tolerance } from "../../close.ts";
import { compareAllClose } from "../../matchers.ts";
import type { Trace } from "./run.ts";

/** Whether two tensors hold the same bits. */
export function sameBits(a: HostTensor | undefined, b: HostTensor | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.shape.join() === b.shape.join() && bytes(a).equals(bytes(b));
}

function bytes({ data: { buffer, byteOffset, byteLength } }: HostTensor): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/** The same tensors by name, bit for bit. */
export function expectSameTensors(actual: Named<HostTensor>, expected: Named<HostTensor>): void {
  expect(Object.keys(actual)).toEqual(Object.keys(expected));
  const different = Object.keys(expected).filter((name) => !sameBits(actual[name], expected[name]));
  expect(different, "tensors that differ").toEqual([]);
}

/** The same losses and parameters, bit for bit. */
export function expectSameRun(actual: Trace, expected: Trace): void {
  expect(actual.losses).toEqual(expected.losses);
  expect(actual.gradNorms).toEqual(expected.gradNorms);
  expectSameTensors(actual.parameters, expected.parameters);
}

/** The same losses and parameters, within a tolerance. */
export function expectCloseRun(actual: Trace, expected: Trace, tolerance: Tolerance): void {
  const problems = differences(actual, expected, tolerance);
  expect(problems, problems[0]).toEqual([]);
}

/** Where two runs are not close to each other: messages. */
export function differences(actual: Trace, expected: Trace, tolerance: Tolerance): string[] {
  expect(Object.keys(actual.parameters)).toEqual(Object.keys(expected.parameters));
  const pairs: (readonly [name: string, actual: Comparable, expected: Comparable])[] = [
    ["losses", actual.losses, expected.losses],
    ...Object.entries(expected.parameters).map(
      ([name, tensor]) => [name, actual.parameters[name] as HostTensor, tensor] as const,
    ),
  ];
  return pairs.flatMap(([name, a, b]) => {
    const { pass, message } = compareAllClose(a, b, tolerance);
    return pass ? [] : [`${name}: ${message()}`];
  });
}

/** Files of a folder by name, as text that is equal where the bytes are; none when there is no folder. */
export function filesIn(folder: string): Readonly<Record<string, string>> {
  if (!existsSync(folder)) return {};
  const names = readdirSync(folder).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name), "latin1")]));
}

/** What plug-ins recorded and reported. */
export function reportsOf({ dir }: Trace): Readonly<Record<string, string>> {
  return filesIn(join(dir, "plugins"));
}

/** The same files with the same bytes; names those that differ. */
export function expectSameFolder(
  actual: Readonly<Record<string, string>>,
  expected: Readonly<Record<string, string>>,
): void {
  expect(Object.keys(actual)).toEqual(Object.keys(expected));
  const different = Object.keys(expected).filter((name) => actual[name] !== expected[name]);
  expect(different, "files that differ").toEqual([]);
}
