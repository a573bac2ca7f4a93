import { PeftError } from "@peftjs/core";

/** What an adapter or a file says that the other cannot. */
export function unsupported(message: string): PeftError {
  return new PeftError("INTERCHANGE_UNSUPPORTED", message);
}
