import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const toolFolder = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Intermediate files; not committed. */
export const ARTIFACTS_FOLDER = join(toolFolder, "artifacts");

/** Where the embedded tasks are shipped from. */
export const TASKS_FOLDER = join(toolFolder, "..", "..", "packages", "data", "tasks");

/** The package that ships the base model. */
export const BASE_FOLDER = join(toolFolder, "..", "..", "packages", "base-mini");
