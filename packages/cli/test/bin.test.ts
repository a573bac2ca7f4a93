import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";

const bin = fileURLToPath(new URL("../bin/peftjs.mjs", import.meta.url));

describe("the installed command", () => {
  it("runs from any folder and hands on output and exit code", async () => {
    const node = promisify(execFile);
    const { stdout } = await node(process.execPath, [bin, "methods", "--json"], { cwd: tmpdir() });
    expect(JSON.parse(stdout)).toContainEqual(
      expect.objectContaining({ name: "lora", package: "@peftjs/method-lora-family" }),
    );
    await expect(node(process.execPath, [bin, "train"], { cwd: tmpdir() })).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining("error [OPTION_MISSING]") as string,
    });
  });
});
