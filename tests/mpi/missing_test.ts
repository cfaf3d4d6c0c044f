/** Builds of MPI that cannot be used: the report says why and what to install. The files are stand-ins built by g++. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { MPI_INSTALL, MPI_OVERRIDE, openMpiLibrary } from "../../ffi/mpi_library.ts";
import { inFolder } from "../in_folder.ts";
import { machine } from "../machine.ts";
import { skipped } from "./start.ts";

const abi =
  'extern "C" int MPI_Abi_get_version(int *major, int *minor) { *major = 0; *minor = 5; return 0; }';
const builds = [
  {
    file: "libmpi.so.12",
    text: "MPICH Version:      4.0.2\\nMPICH Release date: Thu Apr 7",
    says: "it is MPICH 4.0.2 with an ABI of its own, and the standard one of MPI 5 is needed",
  },
  {
    file: "libmpi_abi.so.0",
    text: "MPICH Version:      4.3.0",
    more: abi,
    says: "it has ABI 0.5, and ABI 1 of MPI 5 is needed",
  },
  { file: "libmpi.so.40", text: "Open MPI v3.0.0, package: Debian", says: "it has no ompi_mpi_comm_world" },
  {
    file: "libmpi.so.1",
    text: "Intel(R) MPI Library 2021.9 for Linux",
    says: "it is Intel(R) MPI 2021.9 with an ABI",
  },
];

Deno.test({
  name: "an MPI of another ABI or version is refused, with what to install",
  ignore: skipped,
  sanitizeResources: false, // a process keeps its libraries
  fn: () =>
    inFolder(async (folder) => {
      for (const { file, text, more = "", says } of builds) {
        const path = `${folder}/${file}`;
        await Deno.writeTextFile(
          `${path}.cpp`,
          `#include <cstring>
          extern "C" int MPI_Get_library_version(char *version, int *length) {
            strcpy(version, "${text}"), *length = strlen(version);
            return 0;
          }
          ${more}`,
        );
        const args = ["-shared", "-fPIC", "-o", path, `${path}.cpp`];
        const { success, stderr } = await new Deno.Command("g++", { args }).output();
        assertEquals(success, true, new TextDecoder().decode(stderr));
        const { opened, report } = openMpiLibrary(machine([path], { [MPI_OVERRIDE]: path }));
        assertEquals(opened, undefined);
        assertStringIncludes(report.problem ?? "", `${path} cannot be used: ${says}`);
        assertStringIncludes(report.remedy ?? "", MPI_INSTALL);
      }
    }),
});
