import { i32 } from "./wasm/scalars.ts";
import { f32x4, v128 } from "./wasm/vectors.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { cutFilterGrad, type FilterGradCut } from "./conv_filter_grad_cut.ts";
import { addUnit } from "./conv_filter_grad_unit.ts";
import { type Correlation, correlationText } from "./conv_geometry.ts";
import { carry, sumGradients, unitsTogether } from "./conv_partial_gradients.ts";
import { copyRegion, regionBytes } from "./conv_region.ts";
import type { Launches, Operand, Routine } from "./routine.ts";
import { TILE_COLUMNS, WORD } from "./tile.ts";

/** `dw = convFilterGrad(image, dy)`, where `correlation` is the forward convolution's. */
export function filterGrad(correlation: Correlation, image: Operand, dy: Operand, dw: Operand): Launches {
  const plan = cutFilterGrad(correlation);
  const partial: Operand = { workspace: 0 };
  return {
    launches: [
      { routine: partialGradients(correlation, plan), operands: [image, dy, partial] },
      { routine: sumGradients(correlation, plan), operands: [partial, dw] },
    ],
    workspace: plan.chunks * plan.partials * plan.partialWords * WORD,
  };
}

function partialGradients(correlation: Correlation, plan: FilterGradCut): Routine {
  const { images, groups, source, target, phases: [{ row }] } = correlation;
  const { bandRows, bands, chunks, chunkUnits, taskGroups, blocks, taskBlocks, region, copied } = plan;
  const divisions = Math.ceil(blocks / taskBlocks);
  const taskSets = groups / taskGroups;
  const [height, width, channels] = source;
  return {
    key: `filterGrad ${correlationText(correlation)}`,
    tasks: chunks * taskSets * divisions,
    operands: 3,
    scratch: copied ? regionBytes(region) + 64 : 0,
    build({ f, operands: [imageAddress, dyAddress, partialAddress], task, scratch }) {
      const set = f.int(i32.divU(task, divisions));
      const chunk = f.int(i32.divU(set, taskSets));
      const firstGroup = f.int(i32.mul(i32.remU(set, taskSets), taskGroups));
      const firstBlock = f.int(i32.mul(i32.remU(task, divisions), taskBlocks));
      const endBlock = f.int(i32.min(i32.add(firstBlock, taskBlocks), blocks));
      const unit = f.int(i32.mul(chunk, chunkUnits));
      const endUnit = f.int(i32.min(i32.add(unit, chunkUnits), images * bands));
      const partialBytes = plan.partialWords * WORD;
      f.increment(partialAddress, i32.mul(chunk, plan.partials * partialBytes));
      f.increment(partialAddress, i32.mul(firstGroup, blocks * plan.depth * TILE_COLUMNS * WORD));
      f.increment(imageAddress, i32.mul(firstGroup, channels / groups * WORD));
      f.increment(dyAddress, i32.mul(firstGroup, target[2] / groups * WORD));
      const eachVector = (body: (at: Local<"i32">) => void) =>
        eachPartialVector(f, plan, partialAddress, firstBlock, endBlock, body);
      eachVector((at) => {
        for (let p = 0; p < plan.partials; p++) f.do(v128.store(at, f32x4.constant(0), p * partialBytes));
      });
      f.while(i32.ltU(unit, endUnit), () => {
        const imageIndex = f.int(i32.divU(unit, bands));
        const firstRow = f.int(i32.mul(i32.remU(unit, bands), bandRows));
        const rows = f.int(i32.min(bandRows, i32.sub(row.count, firstRow)));
        const firstSource = f.int(i32.add(i32.mul(firstRow, row.sourceStep), row.sourceStart));
        const pixels = f.int(i32.add(imageAddress, i32.mul(imageIndex, height * width * channels * WORD)));
        if (copied) {
          copyRegion(f, region, pixels, firstSource, scratch);
          f.set(pixels, scratch);
        } else {
          const firstPixel = i32.add(i32.mul(firstSource, width), region.firstColumn);
          f.increment(pixels, i32.mul(firstPixel, channels * WORD));
        }
        const firstTarget = i32.add(i32.mul(imageIndex, target[0]), firstRow);
        const gradient = f.int(i32.add(dyAddress, i32.mul(firstTarget, target[1] * target[2] * WORD)));
        addUnit(f, correlation, plan, {
          pixels,
          gradient,
          rows,
          partial: partialAddress,
          firstBlock,
          endBlock,
        });
        f.increment(unit, 1);
        if (plan.partials === 1) return;
        f.if(
          i32.eqz(i32.remU(unit, unitsTogether(chunkUnits))),
          () => eachVector((at) => carry(f, at, partialBytes)),
        );
      });
    },
  };
}

/** Runs `body` for every vector of some blocks of a partial gradient. */
function eachPartialVector(
  f: FunctionBuilder,
  { taskGroups, blocks, depth }: FilterGradCut,
  partial: Local<"i32">,
  firstBlock: Local<"i32">,
  endBlock: Local<"i32">,
  body: (at: Local<"i32">) => void,
): void {
  const panelBytes = depth * TILE_COLUMNS * WORD;
  const [group, at] = [f.int(0), f.int(0)];
  f.for(group, 0, taskGroups, 1, () => {
    const panels = f.int(i32.add(partial, i32.mul(group, blocks * panelBytes)));
    f.set(at, i32.add(panels, i32.mul(firstBlock, panelBytes)));
    const end = f.int(i32.add(panels, i32.mul(endBlock, panelBytes)));
    f.while(i32.ltU(at, end), () => {
      body(at);
      f.increment(at, 16);
    });
  });
}
