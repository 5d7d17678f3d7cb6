"""Video files to clips of frames, sampled by time."""

from rlivs.video.clips import VideoClip, count_clips, iter_clips, make_clips
from rlivs.video.frames import DecodedFrame, Frame
from rlivs.video.sampling import Sampler, sample_frames
from rlivs.video.source import VideoFile, check_video, open_video

__all__ = [
    "DecodedFrame",
    "Frame",
    "Sampler",
    "VideoClip",
    "VideoFile",
    "check_video",
    "count_clips",
    "iter_clips",
    "make_clips",
    "open_video",
    "sample_frames",
]
