import type { Cut } from "./fused_cut.ts";
import type { Nest, NestStore } from "./fused_nest.ts";
import { NodeWriter } from "./fused_nodes.ts";
import { fold, identity } from "./fused_ops.ts";
import { Streams, writeVector } from "./fused_streams.ts";
import { Accumulators, type Cascade, cascadeOf } from "./fused_sums.ts";
import { VectorMath } from "./math.ts";
import type { RoutineContext } from "./routine.ts";
import { LANES } from "./tile.ts";
import type { FunctionBuilder, Local } from "./wasm/function.ts";
import { i32, int } from "./wasm/scalars.ts";
import { i32x4, v128 } from "./wasm/vectors.ts";

/** The sums that a loop carries one level up after every `every` rounds. */
interface Carry {
  readonly every: number;
  readonly sums: Accumulators;
}

/** Writes the loops of one task. */
export class NestWriter {
  readonly #f: FunctionBuilder;
  readonly #math: VectorMath;
  readonly #streams: Streams;
  readonly #nodes: NodeWriter;
  readonly #epilogue: NodeWriter;
  readonly #last: number;

  constructor(readonly nest: Nest, readonly plan: Cut, readonly context: RoutineContext) {
    this.#f = context.f;
    this.#math = new VectorMath(context.f);
    this.#streams = new Streams(context.f, nest, context.operands);
    this.#nodes = new NodeWriter(this.#streams, nest.nodes);
    this.#epilogue = new NodeWriter(this.#streams, nest.epilogue);
    for (const { operand, view } of [...nest.stores, ...nest.epilogueStores]) this.#streams.of(operand, view);
    this.#last = nest.space.length - 1;
  }

  write(): void {
    const { rows, taskRows, piece, pieces } = this.plan;
    const f = this.#f;
    const { task } = this.context;
    const row = f.int(i32.mul(i32.divU(task, pieces), taskRows));
    const end = f.int(i32.min(i32.add(row, taskRows), rows));
    const firstElement = f.int(i32.mul(i32.remU(task, pieces), piece));
    if (pieces > 1) this.#streams.move(this.#last, firstElement);
    const advance = this.#startRows(row);
    this.#nodes.write(0);
    f.while(i32.ltU(row, end), () => {
      this.#nodes.write(1);
      if (this.nest.reduced[this.#last]) this.#foldRows();
      else this.#overColumns(firstElement);
      f.increment(row, 1);
      if (taskRows > 1) advance();
    });
  }

  #axes(reduced: boolean): number[] {
    return this.nest.space.map((_, axis) => axis).filter((axis) =>
      axis < this.#last && this.nest.reduced[axis] === reduced
    );
  }

  /** Moves the streams to a kept row, and returns a function that moves them to the next one. */
  #startRows(row: Local<"i32">): () => void {
    const f = this.#f;
    const axes = this.#axes(false);
    const rest = f.int(row);
    const counters = axes.toReversed().map((axis, i) => {
      const outermost = i === axes.length - 1;
      const counter = f.int(outermost ? rest : i32.remU(rest, this.nest.space[axis]));
      if (!outermost) f.set(rest, i32.divU(rest, this.nest.space[axis]));
      this.#streams.move(axis, counter);
      return { axis, counter };
    });
    const step = (i: number): void => {
      if (i === counters.length) return;
      const { axis, counter } = counters[i];
      const extent = this.nest.space[axis];
      this.#streams.move(axis, 1);
      if (i === counters.length - 1) return;
      f.increment(counter, 1);
      f.if(i32.eq(counter, extent), () => {
        f.set(counter, int(0));
        this.#streams.move(axis, -extent);
        step(i + 1);
      });
    };
    return () => step(0);
  }

  /**
   * Runs `body(vectors, lanes)` over a piece of the last axis: first bodies of several whole vectors, then single vectors,
   * then the remaining lanes.
   */
  #overLast(
    firstElement: Local<"i32">,
    body: (vectors: number, lanes: number) => void,
    carry?: Carry,
  ): void {
    const { piece, pieces, unroll } = this.plan;
    const streams = this.#streams;
    const f = this.#f;
    const extent = this.nest.space[this.#last];
    const rest = extent % LANES;
    if (pieces === 1) {
      const vectors = Math.floor(extent / LANES);
      const loops = Math.floor(vectors / unroll);
      this.#loop(this.#last, loops, unroll * LANES, () => body(unroll, LANES), carry);
      if (vectors % unroll > 0) {
        body(vectors % unroll, LANES);
        streams.move(this.#last, vectors % unroll * LANES);
      }
      if (rest > 0) body(1, rest);
      if (this.plan.taskRows > 1 || this.#axes(true).length > 0) streams.move(this.#last, -vectors * LANES);
      return;
    }
    const whole = f.int(i32.min(piece, i32.sub(extent & -LANES, firstElement)));
    streams.loop(this.#last, i32.divU(whole, unroll * LANES), unroll * LANES, () => body(unroll, LANES));
    const lastPiece = extent - (pieces - 1) * piece; // pieces but the last are whole bodies
    const single = Math.floor(lastPiece / LANES) % unroll;
    if (single > 0 || rest > 0) {
      f.if(i32.eq(firstElement, (pieces - 1) * piece), () => {
        if (single > 0) {
          body(single, LANES);
          streams.move(this.#last, single * LANES);
        }
        if (rest > 0) body(1, rest);
      });
    }
  }

  /** A loop along an axis, which carries sums if `carry` is given. */
  #loop(axis: number, count: number, step: number, body: () => void, carry?: Carry): void {
    if (count === 0) return;
    const streams = this.#streams;
    if (carry === undefined) return streams.loop(axis, count, step, body);
    const { every, sums } = carry;
    const round = this.#f.int(0);
    this.#f.for(round, 0, Math.floor(count / every), 1, () => {
      streams.loop(axis, every, step, body);
      sums.carry();
    });
    if (count % every > 0) streams.loop(axis, count % every, step, body);
  }

  /** Runs `body` for every reduced row of the current kept row. */
  #overReduced(body: () => void, cascade: Cascade | undefined, sums: Accumulators): void {
    const axes = this.#axes(true);
    const step = (i: number): void => {
      if (i === axes.length) return body();
      const carry = cascade?.loop === i ? { every: cascade.every, sums } : undefined;
      this.#loop(axes[i], this.nest.space[axes[i]], 1, () => step(i + 1), carry);
      this.#streams.move(axes[i], -this.nest.space[axes[i]]);
    };
    step(0);
  }

  #store(stores: readonly NestStore[], nodes: NodeWriter, vector: number, lanes: number): void {
    for (const { node, operand, view } of stores) {
      const stream = this.#streams.of(operand, view);
      writeVector(this.#f, stream, vector, lanes, nodes.value(node, vector), nodes.nodes[node].dtype);
    }
  }

  /** The last axis is kept: each vector of it is a column of accumulators, where there are reductions. */
  #overColumns(firstElement: Local<"i32">): void {
    const { reductions, stores, epilogueStores, space } = this.nest;
    const cascade = cascadeOf(reductions, this.#axes(true).map((axis) => space[axis]));
    this.#overLast(firstElement, (vectors, lanes) => {
      const sums = new Accumulators(this.#f, this.#math, reductions, vectors, cascade);
      for (let vector = 0; vector < vectors; vector++) this.#nodes.write(3, vector, lanes);
      this.#overReduced(
        () => {
          this.#nodes.write(2);
          for (let vector = 0; vector < vectors; vector++) {
            this.#nodes.write(4, vector, lanes);
            this.#store(stores, this.#nodes, vector, lanes);
            sums.add(vector, ({ node }) => this.#nodes.value(node, vector));
          }
        },
        cascade,
        sums,
      );
      sums.finish();
      for (let vector = 0; vector < vectors; vector++) {
        this.#epilogue.writeAll(vector, lanes, sums.values.map((list) => list[vector]));
        this.#store(epilogueStores, this.#epilogue, vector, lanes);
      }
    });
  }

  /** The last axis is reduced: several accumulators side by side are combined at the end. */
  #foldRows(): void {
    const { reductions, stores, epilogueStores, space } = this.nest;
    const f = this.#f;
    const axes = this.#axes(true);
    const bodies = Math.max(1, Math.floor(space[this.#last] / (LANES * this.plan.unroll)));
    const cascade = cascadeOf(reductions, [...axes.map((axis) => space[axis]), bodies]);
    const sums = new Accumulators(f, this.#math, reductions, this.plan.unroll, cascade);
    const carry = cascade?.loop === axes.length ? { every: cascade.every, sums } : undefined;
    this.#overReduced(
      () => {
        this.#nodes.write(2);
        this.#overLast(f.int(0), (vectors, lanes) => {
          for (let vector = 0; vector < vectors; vector++) {
            this.#nodes.write(3, vector, lanes);
            this.#nodes.write(4, vector, lanes);
            this.#store(stores, this.#nodes, vector, lanes);
            sums.add(vector, ({ fn, dtype, node }) => {
              const term = this.#nodes.value(node, vector);
              if (lanes === LANES) return term;
              const neutral = identity(this.#math, fn, dtype);
              return this.#math.keep(v128.bitselect(term, neutral, f.constant(laneMask(lanes))));
            });
          }
        }, carry);
      },
      cascade,
      sums,
    );
    sums.finish();
    const results = reductions.map(({ fn, dtype }, i) => {
      const [result, ...others] = sums.values[i];
      for (const other of others) f.set(result, fold(this.#math, fn, dtype, result, other));
      for (const half of [HALVES, PAIRS]) {
        const other = this.#math.keep(v128.shuffle(result, result, half));
        f.set(result, fold(this.#math, fn, dtype, result, other));
      }
      return result;
    });
    this.#epilogue.writeAll(0, 1, results);
    this.#store(epilogueStores, this.#epilogue, 0, 1);
  }
}

const HALVES = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];
const PAIRS = [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11];

function laneMask(lanes: number) {
  return i32x4.constant(...[0, 1, 2, 3].map((lane) => lane < lanes ? -1 : 0));
}
