/** When to try again: doubled each time, with jitter over its whole length, so that those who were cut off together do not come back together. */

const FIRST_MS = 250;
const MOST_MS = 30000;

export class Backoff {
  private n = 0;

  reset(): void {
    this.n = 0;
  }

  next(): number {
    const most = Math.min(MOST_MS, FIRST_MS * 2 ** this.n);
    this.n = Math.min(this.n + 1, 16);
    return most / 2 + (Math.random() * most) / 2;
  }
}
