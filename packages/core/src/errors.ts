/**
 * An error that says what happened, what was received, what was expected and what to do next.
 * `code` is part of the public interface: it never changes within a major version.
 */
export class PeftError extends Error {
  override readonly name = "PeftError";
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
