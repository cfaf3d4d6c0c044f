// A thread of splits.ts: plans every split it receives.

import { type Answer, planSplit, type Split } from "./splits.ts";

/** The thread itself, whose global scope is not the one Deno checks this module with. */
declare const self: {
  onmessage: (event: MessageEvent<Split>) => void;
  postMessage(answer: Answer): void;
};

self.onmessage = async ({ data }) => {
  try {
    self.postMessage({ plans: await planSplit(data) });
  } catch (error) {
    self.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};
