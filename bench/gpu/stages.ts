/**
 * What `bench/gpu.sh` does on a card, most informative first, since time may run out at any point. Each item is a
 * program of its own, so that none can take others down with it.
 */

/** The stages, in order, and their seconds of a budget of 570; what a stage leaves, the next one has. */
export const STAGES = [
  {
    name: "first",
    seconds: 60,
    about: "the card computes, and a captured step gives the bits of an issued one",
  },
  {
    name: "right",
    seconds: 150,
    about: "ops and ten MAN steps as the reference and WebAssembly compute them",
  },
  { name: "speed", seconds: 240, about: "the MAN step of ResNet-32 beside PyTorch's" },
  { name: "more", seconds: 120, about: "larger networks, WebGPU, a thousand steps, and epochs of CIFAR-10" },
] as const;

/** The name of a stage. */
export type StageName = typeof STAGES[number]["name"];
