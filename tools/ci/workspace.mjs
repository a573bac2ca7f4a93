// What the checks need to know about the workspace.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));

/** Every package below packages/: its folder and its package.json. */
export function packages() {
  return readdirSync(path.join(root, "packages"))
    .map((name) => path.join(root, "packages", name))
    .filter((folder) => existsSync(path.join(folder, "package.json")))
    .map((folder) => ({ folder, json: JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) }));
}

/** The packages whose Nx tags hold one of these scopes. */
export function packagesOf(...scopes) {
  return packages().filter(({ json }) => json.nx?.tags?.some((tag) => scopes.includes(tag.replace("scope:", ""))));
}

/** Files below a folder that pass the filter, without build outputs and installed packages. */
export function filesBelow(folder, accept) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      return ["node_modules", "dist", "coverage", ".nx", "fixtures"].includes(entry.name)
        ? []
        : filesBelow(file, accept);
    }
    return accept(file) ? [file] : [];
  });
}

export const relative = (file) => path.relative(root, file).split(path.sep).join("/");
