/** When to try again: doubled each time, with jitter over its whole length, so that those who were cut off together do not come back together. */

const FIRST_MS = 250;
const MOST_MS = 30000;
/** Of what a server says: one that says "at once" each time would be called without end, and no timer is as long as some say. */
const LEAST_TOLD_MS = 100;
const MOST_TOLD_MS = 3600000;

export class Backoff {
  private n = 0;

  reset(): void {
    this.n = 0;
  }

  /** told: what the server asks for, ms. */
  next(told = NaN): number {
    if (told >= 0) {
      return Math.min(Math.max(told, LEAST_TOLD_MS), MOST_TOLD_MS) + Math.random() * LEAST_TOLD_MS;
    }
    const most = Math.min(MOST_MS, FIRST_MS * 2 ** this.n);
    this.n = Math.min(this.n + 1, 16);
    return most / 2 + (Math.random() * most) / 2;
  }
}
