/** Seeded generator equal to torch's CPU generator (MT19937). */
export interface Generator {
  /** 32 random bits. */
  next32(): number;
}
