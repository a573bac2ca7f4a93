/** A promise of plug-ins, as a test without a test runner, so that tests of the suite can see it fail. */
export interface Check<Setting> {
  readonly name: string;
  /** Rejects where the promise is broken. */
  readonly check: (setting: Setting) => void | Promise<void>;
}
