/** Receives what a user should know although nothing failed. */
export type Warn = (message: string) => void;

/** Where warnings go unless the caller takes them: the console. */
export const printWarning: Warn = (message) => {
  // A library is silent otherwise; who wants that here passes a function of their own.
  // eslint-disable-next-line no-console
  console.warn(message);
};
