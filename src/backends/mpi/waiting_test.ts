import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { LocalgradError } from "../../base/errors.ts";
import { untilDone, waitUntil } from "./waiting.ts";

Deno.test("waitUntil() tests until it is done, crowded or not, and gives up after the limit with what it waits for", () => {
  for (const crowded of [false, true]) {
    let tests = 0;
    waitUntil(() => ++tests === 5, { crowded }, () => "five tests");
    assertEquals(tests, 5);
    assertThrows(
      () => waitUntil(() => false, { crowded, limit: 0.01 }, () => "the impossible"),
      LocalgradError,
      "the impossible took more than 0.01 s",
    );
  }
  waitUntil(() => true, { crowded: true, limit: 0 }, () => "nothing");
});

Deno.test("waitUntil() sleeps between tests where the machine is crowded", () => {
  let tests = 0;
  const end = performance.now() + 20;
  waitUntil(() => ++tests < 0 || performance.now() > end, { crowded: true }, () => "20 ms");
  assertEquals(tests < 1000, true, `${tests} tests`); // spinning makes tens of thousands
});

Deno.test("untilDone() lets timers run until it is done, and gives up after the limit with what it waits for", async () => {
  let arrived = false;
  setTimeout(() => arrived = true, 5);
  await untilDone(() => arrived, { crowded: false, limit: 10 }, () => "a timer");
  assertEquals(arrived, true);
  await assertRejects(
    () => untilDone(() => false, { crowded: true, limit: 0.01 }, () => "the impossible"),
    LocalgradError,
    "the impossible took more than 0.01 s",
  );
});
