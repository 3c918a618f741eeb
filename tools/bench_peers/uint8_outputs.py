"""A model with uint8 outputs, for those who take no int8: each is requantized by one operator."""

from __future__ import annotations

import copy

from ai_edge_litert.tools import flatbuffer_utils

from edge_sim.vision.embedders.model_file import ModelFile

_UINT8, _INT8 = 3, 9
_QUANTIZE = 114
"""Of the TFLite schema. From int8 to uint8 with a zero point 128 higher it flips one bit."""


def with_uint8_outputs(model: ModelFile) -> bytes:
    """Return the .tflite file with every int8 output made uint8; the values stay the same."""
    whole = flatbuffer_utils.convert_bytearray_to_object(model.data)
    graph = whole.subgraphs[0]
    graph.outputs = [int(index) for index in graph.outputs]
    for at, index in enumerate(graph.outputs):
        tensor = graph.tensors[index]
        if tensor.type != _INT8:
            continue
        made = copy.deepcopy(tensor)
        made.name, made.type, made.buffer = f"{tensor.name.decode()}_uint8", _UINT8, 0
        made.quantization.zeroPoint = [zero + 128 for zero in tensor.quantization.zeroPoint]
        operator = flatbuffer_utils.OperatorT()
        operator.opcodeIndex = len(whole.operatorCodes)
        operator.inputs, operator.outputs = [index], [len(graph.tensors)]
        graph.operators.append(operator)
        graph.outputs[at] = len(graph.tensors)
        graph.tensors.append(made)
    code = flatbuffer_utils.OperatorCodeT()
    code.deprecatedBuiltinCode = code.builtinCode = _QUANTIZE
    code.version = 1
    whole.operatorCodes.append(code)
    whole.signatureDefs = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(whole))
