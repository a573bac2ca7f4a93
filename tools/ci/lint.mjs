// Lints the workspace. The rule of module boundaries reads the project graph that Nx has stored, and skips itself, with
// no more than a warning, where there is none: so the graph is made first, and a skipped rule is a failure.
import { spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { root } from "./workspace.mjs";

function execute(name, args) {
  const { status, stdout, stderr } = spawnSync(path.join(root, "node_modules", ".bin", name), args, {
    cwd: root,
    shell: process.platform === "win32",
    encoding: "utf8",
    maxBuffer: 64 << 20,
    env: { ...process.env, NX_DAEMON: "false" },
  });
  return { ok: status === 0, output: `${stdout}${stderr}` };
}

const graph = execute("nx", ["show", "projects"]);
if (!graph.ok) console.log(graph.output);
const lint = execute("eslint", ["."]);
const skipped = lint.output.includes("No cached ProjectGraph");
console.log(skipped ? "The project graph is missing: module boundaries were not checked." : lint.output.trimEnd());
process.exitCode = graph.ok && lint.ok && !skipped ? 0 : 1;
