import type { AdapterContext, FileForm } from "./contexts.ts";
import type { Method } from "./method.ts";

/**
 * Another type of adapter file that can say what an adapter of the method says, so that other libraries read it, or that it can be
 * read from. Which layers, modules and token rows it is about need not be said: the result gets those of the form, and of the other.
 */
export interface Interchange<Config extends object, Carried extends object = object> {
  /**
   * The type of file, as a method that is never run: its schema, its wire, and an `init` that gives the shapes. Its name is what
   * callers ask for: `saveAdapter(model, { dir, as: name })`.
   */
  readonly carrier: Method<Carried>;
  /**
   * Host: the same adapter as such a file. What it computes stays the same to the bit or to rounding, never approximately; a base
   * weight that `init` replaced is accounted for, as in `file`. Without it such files are only read.
   * @throws PeftError `INTERCHANGE_UNSUPPORTED` for an adapter that the type cannot say.
   */
  to?(context: AdapterContext<Config>): FileForm<Carried>;
  /**
   * Host: the same adapter as one of the method. Without it such files are only written.
   * @throws PeftError `INTERCHANGE_UNSUPPORTED` for a file that the method cannot say.
   */
  from?(context: AdapterContext<Carried>): FileForm<Config>;
}

/** Checks an interchange against the types of both configs, and forgets the carrier's. Adds nothing at run time. */
export function defineInterchange<Config extends object, Carried extends object>(
  interchange: Interchange<Config, Carried>,
): Interchange<Config> {
  return interchange as unknown as Interchange<Config>;
}
