import { assertEquals } from "@std/assert";
import { scores } from "../training/metric.ts";
import { classTable, confusionTable } from "./metric_tables.ts";

Deno.test("tables of metrics are aligned, and name the classes", () => {
  assertEquals(
    classTable(scores([[3, 1], [0, 0]]), ["cat", "dog"]),
    "class  images  recall  precision\ncat         4    75 %      100 %\ndog         0       –        0 %",
  );
  assertEquals(
    classTable([{ images: 90, recall: 1, precision: 0.9, iou: 0.9 }], ["sky"]),
    "class  pixels  recall  precision   IoU\nsky        90   100 %       90 %  90 %",
  );
  assertEquals(
    confusionTable([[3, 1], [0, 12]], ["cat", "dog"]),
    "class, by what it was taken for  0   1\n0 cat                            3   1\n1 dog                            0  12",
  );
});
