// A thread of memory_splits.ts: plans each split that it is sent.

import { type Answer, planSplit, type Split } from "./memory_splits.ts";

const thread = self as unknown as {
  onmessage: (event: MessageEvent<Split>) => void;
  postMessage(answer: Answer): void;
};

thread.onmessage = async ({ data }) => {
  try {
    thread.postMessage({ plans: await planSplit(data) });
  } catch (error) {
    thread.postMessage({ error: error instanceof Error ? error.message : String(error) });
  }
};
