import { assert, assertEquals, assertMatch } from "@std/assert";
import { within } from "../../../tests/environment.ts";
import { inFolder } from "../../../tests/in_folder.ts";
import { measuredSpeeds } from "./measured_speeds.ts";

Deno.test("speeds are measured once for each device, and kept in the cache", () =>
  inFolder(async (dir) => {
    await within({ XDG_CACHE_HOME: dir }, async () => {
      const first = await measuredSpeeds({ name: "cpu", threads: 1 });
      const { operations, bytes, launch } = first!.speeds;
      assert(operations > 1e8 && operations < 1e14 && bytes > 1e7 && bytes < 1e13, `${operations}, ${bytes}`);
      assert(launch > 0 && launch < 1e-2, `${launch}`);
      assertMatch(first!.device, /1 thread/);
      const files = Array.from(Deno.readDirSync(`${dir}/localgrad/speeds`), ({ name }) => name);
      assertEquals(files.length, 1);
      // What is kept is read: other figures come back.
      const other = { operations: 1, bytes: 2, launch: 3 };
      Deno.writeTextFileSync(`${dir}/localgrad/speeds/${files[0]}`, JSON.stringify(other));
      assertEquals((await measuredSpeeds({ name: "cpu", threads: 1 }))?.speeds, other);
    });
    await within({ XDG_CACHE_HOME: undefined, HOME: undefined }, async () => {
      assertEquals(await measuredSpeeds({ name: "cpu", threads: 1 }), undefined); // nowhere to keep them
    });
  }));
