import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Presets shipped with the package; the folder lies beside src/ and dist/. */
export const experimentsFolder = fileURLToPath(new URL("../experiments", import.meta.url));

const fromSource = import.meta.url.endsWith(".ts");

/** Arguments of `node` that start the process of one run, from sources in the workspace and from dist when installed. */
export function workerArguments(): string[] {
  if (!fromSource) return [fileURLToPath(new URL("./worker.js", import.meta.url))];
  const loader = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;
  return ["--conditions=@peftjs/source", "--import", loader, fileURLToPath(new URL("./worker.ts", import.meta.url))];
}
