/** Receives what a user should know although nothing failed. */
export type Warn = (message: string) => void;

/** Where warnings go unless the caller takes them: the console. */
export const printWarning: Warn = (message) => {
  // eslint-disable-next-line no-console
  console.warn(message);
};
