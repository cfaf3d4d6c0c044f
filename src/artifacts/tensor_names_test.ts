import { assertEquals } from "@std/assert";
import { ofNetwork, tensorName, variableOf } from "./tensor_names.ts";

Deno.test("names of tensors tell the network's own from those of auxiliary networks and the optimizer", () => {
  const paths = [
    ["params.layer1.0.conv1.weight", "layer1.0.conv1.weight", true, "layer1.0.conv1.weight"],
    ["state.bn1.running_mean", "bn1.running_mean", true, "bn1.running_mean"],
    ["params.local.0.fc.weight", "local.0.fc.weight", false, "local.0.fc.weight"],
    ["state.local.0.ema.conv1.weight", "local.0.ema.conv1.weight", false, "local.0.ema.conv1.weight"],
    ["optimizer.momentum.fc.weight", "optimizer.momentum.fc.weight", false, "fc.weight"],
    ["optimizer.m.local.0.fc.weight", "optimizer.m.local.0.fc.weight", false, "local.0.fc.weight"],
  ] as const;
  for (const [path, name, own, variable] of paths) {
    assertEquals([tensorName(path), ofNetwork(name), variableOf(name)], [name, own, variable]);
  }
});
