import { SafetensorsFile, writeSafetensors } from "@peftjs/core";
import type { HostTensor, Named } from "@peftjs/core";

export async function writeTensors(path: string, tensors: Named<HostTensor>): Promise<void> {
  await writeSafetensors(path, new Map(Object.entries(tensors)));
}

export async function readTensors(path: string): Promise<Named<HostTensor>> {
  const file = await SafetensorsFile.open(path);
  try {
    const tensors: Record<string, HostTensor> = {};
    for (const name of file.names) tensors[name] = await file.tensor(name);
    return tensors;
  } finally {
    await file.close();
  }
}
